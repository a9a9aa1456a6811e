package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/anyvip/anyvip/pkg/vip"
)

// Limits of a file. The YAML parser's time grows with the square of some of
// these, so they are checked on its tokens, before it runs.
const (
	maxSize   = 1 << 20 // bytes
	maxTokens = 200_000 // words and signs: several thousand services
	maxDepth  = 64      // brackets in brackets, or markers in one line
	maxKeys   = 1_000   // in one mapping
)

// parse reads data as one YAML document whose root is a mapping. On a problem
// the node is nil: nothing more can be said about the file.
func parse(data []byte) (ast.Node, []Problem) {
	if p, ok := unreadable(data); !ok {
		return nil, []Problem{p}
	}
	tokens := lexer.Tokenize(strings.TrimPrefix(string(data), "\ufeff"))
	if p, ok := excessive(tokens); !ok {
		return nil, []Problem{p}
	}
	// Repeated keys are ours to report: the parser would stop at the first.
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, []Problem{syntax(err)}
	}
	return root(file)
}

// unreadable finds what is no text of ours at all.
func unreadable(data []byte) (Problem, bool) {
	if len(data) > maxSize {
		return fileProblem(1, 1, fmt.Sprintf("is larger than %d bytes, which no configuration is", maxSize)), false
	}
	line, start := 1, 0
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && n <= 1:
			return fileProblem(line, column(data[start:i]), fmt.Sprintf("byte 0x%02x is not UTF-8 text", data[i])), false
		case r < ' ' && r != '\t' && r != '\r' && r != '\n':
			return fileProblem(line, column(data[start:i]), fmt.Sprintf("control character %U; the file must be UTF-8 text", r)), false
		case r == '\n':
			line, start = line+1, i+1
		}
		i += n
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return fileProblem(1, 1, "is empty; `anyvip config reference` prints a complete example"), false
	}
	return Problem{}, true
}

// column is that of what follows the beginning of a line.
func column(beginning []byte) int { return utf8.RuneCount(beginning) + 1 }

// excessive finds documents that would cost the parser too much.
func excessive(tokens token.Tokens) (Problem, bool) {
	var (
		brackets int
		line     int       // of the markers counted
		markers  int       // in one line: each nests one deeper
		open     []mapping // mappings around this token, outermost first
	)
	for i, t := range tokens {
		at := t.Position
		if at.Line != line {
			line, markers = at.Line, 0
		}
		switch is := t.Type; {
		case is == token.SequenceStartType || is == token.MappingStartType:
			brackets++
		case is == token.SequenceEndType || is == token.MappingEndType:
			brackets--
		case is == token.SequenceEntryType || is == token.MappingKeyType || is == token.AnchorType || is == token.TagType:
			markers++
		case is == token.MappingValueType && i > 0:
			open = countKey(open, tokens[i-1].Position.Column)
		}
		if n := len(open); n > 0 && at.Column < open[n-1].column {
			open = closeMappings(open, at.Column)
		}
		switch {
		case brackets > maxDepth, markers > maxDepth:
			return fileProblem(at.Line, at.Column, fmt.Sprintf("nests deeper than %d, which no configuration does", maxDepth)), false
		case i >= maxTokens:
			return fileProblem(at.Line, at.Column, fmt.Sprintf("has more than %d words, which no configuration has", maxTokens)), false
		case len(open) > 0 && open[len(open)-1].keys > maxKeys:
			return fileProblem(at.Line, at.Column, fmt.Sprintf("has more than %d keys in one mapping", maxKeys)), false
		}
	}
	return Problem{}, true
}

// mapping is one that is being read, known by the column of its keys.
type mapping struct{ column, keys int }

func closeMappings(open []mapping, column int) []mapping {
	for len(open) > 0 && open[len(open)-1].column > column {
		open = open[:len(open)-1]
	}
	return open
}

func countKey(open []mapping, column int) []mapping {
	open = closeMappings(open, column)
	if n := len(open); n > 0 && open[n-1].column == column {
		open[n-1].keys++
		return open
	}
	return append(open, mapping{column, 1})
}

// syntax puts the parser's error into our form.
func syntax(err error) Problem {
	var at yaml.Error
	if !errors.As(err, &at) {
		return fileProblem(1, 1, "is not YAML: "+err.Error())
	}
	message := at.GetMessage()
	if strings.Contains(message, "'\t'") {
		message = "a tab; YAML is indented with spaces only"
	}
	line, column := 1, 1
	if t := at.GetToken(); t != nil && t.Position != nil {
		line, column = t.Position.Line, t.Position.Column
	}
	return fileProblem(line, column, "is not YAML: "+message)
}

// root is the one mapping that the file holds.
func root(file *ast.File) (ast.Node, []Problem) {
	var found ast.Node
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case doc.Body.Type() == ast.DirectiveType:
			p := start(doc.Body)
			return nil, []Problem{fileProblem(p.line, p.column, "a YAML directive; delete this line")}
		case found != nil:
			p := start(doc.Body)
			return nil, []Problem{fileProblem(p.line, p.column, "a second YAML document starts here; one file holds one configuration")}
		default:
			found = doc.Body
		}
	}
	if found == nil {
		return nil, []Problem{fileProblem(1, 1, "is empty; `anyvip config reference` prints a complete example")}
	}
	return found, nil
}

func fileProblem(line, column int, message string) Problem {
	return Problem{line, column, vip.Problem{Message: message}}
}

// position is a place in the file.
type position struct{ line, column int }

// start is where a node begins. A mapping begins at its first key, not at its
// colon, where the parser puts it.
func start(n ast.Node) position {
	switch m := n.(type) {
	case *ast.MappingNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			return start(m.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return start(m.Key)
	}
	if n == nil {
		return position{1, 1}
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return position{t.Position.Line, t.Position.Column}
	}
	return position{1, 1}
}
