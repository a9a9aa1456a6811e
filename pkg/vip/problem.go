package vip

import (
	"fmt"
	"path"
	"strings"
)

// Problem is one mistake in a configuration, found by the part that owns the
// value. Path is relative to that part ("peers[0].hold_time"); whoever holds
// the file adds line and column.
type Problem struct {
	Path    string
	Value   string // as written; empty where there is none
	Message string // what is wrong
	Allowed string // what would be right; may be empty
}

func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Path + ": ")
	if p.Value != "" {
		b.WriteString(p.Value + ": ")
	}
	b.WriteString(p.Message)
	if p.Allowed != "" {
		b.WriteString(" (allowed: " + p.Allowed + ")")
	}
	return b.String()
}

// Under returns ps with prefix put before every path.
func Under(prefix string, ps []Problem) []Problem {
	out := make([]Problem, len(ps))
	for i, p := range ps {
		switch {
		case p.Path == "":
			p.Path = prefix
		case p.Path[0] == '[':
			p.Path = prefix + p.Path
		default:
			p.Path = prefix + "." + p.Path
		}
		out[i] = p
	}
	return out
}

// CommandProblems finds what is wrong with a program and its arguments that stand at a
// path. Whether the program is there is seen when it is run.
func CommandProblems(at string, argv []string) (ps []Problem) {
	switch {
	case len(argv) == 0:
		ps = append(ps, Problem{Path: at, Message: "is missing", Allowed: "[PROGRAM, ARGUMENT, ...]"})
	case !path.IsAbs(argv[0]):
		ps = append(ps, Problem{Path: at + "[0]", Value: argv[0], Message: "is not an absolute path"})
	}
	for i, arg := range argv {
		if strings.ContainsRune(arg, 0) {
			ps = append(ps, Problem{Path: fmt.Sprintf("%s[%d]", at, i), Value: fmt.Sprintf("%q", arg), Message: "has a zero byte"})
		}
	}
	return ps
}
