package config

import (
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/anyvip/anyvip/pkg/vip"
)

// decoder fills Config structs from a parsed file and remembers where each
// value stood. It goes on after a problem, so that all are found.
type decoder struct {
	problems []Problem
	warnings []Problem
	at       map[string]position // of each value that was given, by path
	failed   map[string]bool     // what did not decode: nothing more is said about it or what is inside
	excused  map[string]bool     // what is missing because its key was misspelt
	said     map[string]bool     // what has a problem
}

func newDecoder() *decoder {
	return &decoder{at: map[string]position{}, failed: map[string]bool{}, excused: map[string]bool{}, said: map[string]bool{}}
}

// fail reports a value and everything inside it as undecodable.
func (d *decoder) fail(n ast.Node, path, value, message, allowed string) {
	d.failed[path] = true
	at := d.place(path)
	if n != nil && n.GetToken() != nil {
		at = start(n)
	}
	d.report(at, path, value, message, allowed)
}

func (d *decoder) report(at position, path, value, message, allowed string) {
	d.said[path] = true
	d.problems = append(d.problems, Problem{at.line, at.column, vip.Problem{Path: path, Value: value, Message: message, Allowed: allowed}})
}

// add takes problems that were found in decoded values, and leaves out what
// follows from a problem that is already known.
func (d *decoder) add(ps []vip.Problem) {
	for _, p := range ps {
		if d.excused[p.Path] || !d.sound(p.Path) {
			continue
		}
		at := d.place(p.Path)
		d.report(at, p.Path, trim(p.Value), p.Message, p.Allowed)
	}
}

// blame reports one problem, unless its value has one already.
func (d *decoder) blame(path, value, message, allowed string) {
	if d.said[path] {
		return
	}
	d.add([]vip.Problem{{Path: path, Value: value, Message: message, Allowed: allowed}})
}

// warn notes what an operator should know, and may leave as it is.
func (d *decoder) warn(path, value, message string) {
	if !d.sound(path) {
		return
	}
	at := d.place(path)
	d.warnings = append(d.warnings, Problem{at.line, at.column, vip.Problem{Path: path, Value: trim(value), Message: message}})
}

// sound reports whether path and all that it stands in was decoded.
func (d *decoder) sound(path string) bool {
	for path != "" {
		if d.failed[path] {
			return false
		}
		path = parent(path)
	}
	return !d.failed[""]
}

// given reports whether the file says anything at path.
func (d *decoder) given(path string) bool { _, ok := d.at[path]; return ok }

// place is where path stands in the file, or the nearest that it would stand in.
func (d *decoder) place(path string) position {
	for {
		if at, ok := d.at[path]; ok {
			return at
		}
		if path == "" {
			return position{1, 1}
		}
		path = parent(path)
	}
}

// join is the path of a key. A user's key that has signs of ours is quoted.
func join(path, key string) string {
	if key == "" || strings.ContainsAny(key, `.[]"`) || shown(key) != key {
		return path + "[" + strconv.Quote(trim(key)) + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func parent(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }
