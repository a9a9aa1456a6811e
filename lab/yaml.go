package lab

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// decoder walks a YAML document and collects what is wrong with it. Its methods
// return a zero value after a problem, so that the walk goes on.
type decoder struct {
	file     string
	dir      string
	anchors  map[string]ast.Node
	problems Problems
}

// at is a value in the document and the path to it.
type at struct {
	node ast.Node
	path string
}

// entry is one key of a mapping with its value.
type entry struct {
	key   string
	name  at // the key itself, for problems with it
	value at
}

func (d *decoder) problem(where at, format string, args ...any) {
	p := Problem{File: d.file, Path: where.path, Text: fmt.Sprintf(format, args...)}
	if tok := start(where.node); tok != nil {
		p.Line, p.Column = tok.Position.Line, tok.Position.Column
	}
	d.problems = append(d.problems, p)
}

// start is where a value begins; the parser's own token of a block mapping is the
// colon after its first key.
func start(n ast.Node) *token.Token {
	switch n := n.(type) {
	case nil:
		return nil
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return n.Values[0].Key.GetToken()
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	}
	return n.GetToken()
}

func (d *decoder) sorted() Problems {
	slices.SortStableFunc(d.problems, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return slices.Compact(d.problems)
}

// document parses data and returns its one document.
func (d *decoder) document(data []byte) (at, bool) {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		var syntax *yaml.SyntaxError
		if errors.As(err, &syntax) && syntax.Token != nil {
			pos := syntax.Token.Position
			d.problems = append(d.problems, Problem{File: d.file, Line: pos.Line, Column: pos.Column, Text: syntax.Message})
		} else {
			d.problem(at{}, "%s", err)
		}
		return at{}, false
	}
	d.anchors = make(map[string]ast.Node)
	for _, doc := range file.Docs {
		ast.Walk(anchorFinder(d.anchors), doc.Body)
	}
	switch {
	case len(file.Docs) == 0 || file.Docs[0].Body == nil:
		d.problem(at{}, "is empty; a topology has a name and a topology")
		return at{}, false
	case len(file.Docs) > 1:
		d.problem(at{node: file.Docs[1].Body}, "a second document; only one is read")
	}
	return at{node: file.Docs[0].Body}, true
}

type anchorFinder map[string]ast.Node

// Visit notes anchors.
func (f anchorFinder) Visit(n ast.Node) ast.Visitor {
	if a, ok := n.(*ast.AnchorNode); ok {
		f[a.Name.GetToken().Value] = a.Value
	}
	return f
}

// plain follows anchors, aliases and tags to the value itself.
func (d *decoder) plain(v at) at {
	for range 100 { // an alias inside its own anchor would go round for ever
		switch n := v.node.(type) {
		case *ast.AnchorNode:
			v.node = n.Value
		case *ast.TagNode:
			v.node = n.Value
		case *ast.AliasNode:
			target, ok := d.anchors[n.Value.GetToken().Value]
			if !ok {
				d.problem(v, "no anchor &%s is in the file", n.Value.GetToken().Value)
				return at{path: v.path}
			}
			v.node = target
		default:
			return v
		}
	}
	d.problem(v, "the alias refers to itself")
	return at{path: v.path}
}

func isNull(n ast.Node) bool {
	_, null := n.(*ast.NullNode)
	return n == nil || null
}

// mapping returns the entries of a mapping, merge keys resolved; null is an empty one.
func (d *decoder) mapping(v at) []entry {
	v = d.plain(v)
	var values []*ast.MappingValueNode
	switch n := v.node.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		if !isNull(v.node) {
			d.problem(v, "has to be a mapping (key: value), not %s", kindOf(v.node))
		}
		return nil
	}
	var own, merged []entry
	for _, value := range values {
		if value.Key.IsMergeKey() {
			merged = append(merged, d.merged(at{value.Value, v.path})...)
			continue
		}
		key := value.Key.GetToken().Value
		path := strings.TrimPrefix(v.path+"."+key, ".")
		own = append(own, entry{key: key, name: at{value.Key, path}, value: at{value.Value, path}})
	}
	for _, m := range merged {
		if !slices.ContainsFunc(own, func(e entry) bool { return e.key == m.key }) {
			own = append(own, m)
		}
	}
	return own
}

// merged returns the entries that a merge key brings: of one mapping or of several.
func (d *decoder) merged(v at) []entry {
	v = d.plain(v)
	seq, ok := v.node.(*ast.SequenceNode)
	if !ok {
		return d.mapping(v)
	}
	var all []entry
	for _, n := range seq.Values {
		all = append(all, d.mapping(at{n, v.path})...)
	}
	return all
}

// list returns the elements of a sequence; null is an empty one.
func (d *decoder) list(v at) []at {
	v = d.plain(v)
	seq, ok := v.node.(*ast.SequenceNode)
	if !ok {
		if !isNull(v.node) {
			d.problem(v, "has to be a list, not %s", kindOf(v.node))
		}
		return nil
	}
	elements := make([]at, len(seq.Values))
	for i, n := range seq.Values {
		elements[i] = at{n, v.path + "[" + strconv.Itoa(i) + "]"}
	}
	return elements
}

// text returns a string; numbers and booleans are taken as they are written.
func (d *decoder) text(v at) string {
	v = d.plain(v)
	switch n := v.node.(type) {
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value
	}
	d.problem(v, "has to be a string, not %s", kindOf(v.node))
	return ""
}

// number returns a whole number between least and most.
func (d *decoder) number(v at, least, most int) int {
	v = d.plain(v)
	if n, ok := v.node.(*ast.IntegerNode); ok {
		if i, err := strconv.Atoi(n.GetToken().Value); err == nil && i >= least && i <= most {
			return i
		}
		d.problem(v, "%s is out of range; %d to %d is possible", n.GetToken().Value, least, most)
		return least
	}
	d.problem(v, "has to be a whole number, not %s", kindOf(v.node))
	return least
}

func kindOf(n ast.Node) string {
	if isNull(n) {
		return "empty"
	}
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode, *ast.LiteralNode:
		return "a string"
	}
	if n.GetToken().Type == token.BoolType {
		return "true or false"
	}
	return "a number"
}
