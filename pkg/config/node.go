package config

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"
)

// plain notes where the value stands and refuses what YAML could say besides
// it. What an anchor or a tag decorates is decoded all the same.
func (d *decoder) plain(n ast.Node, path string) (ast.Node, bool) {
	d.at[path] = start(n)
	for {
		switch decorated := n.(type) {
		case *ast.AnchorNode:
			d.report(start(n), path, "", "is a YAML anchor; write every value where it is used", "")
			n = decorated.Value
		case *ast.TagNode:
			d.report(start(n), path, decorated.Start.Value, "is a YAML tag; delete it, every key has one type", "")
			n = decorated.Value
		case *ast.AliasNode:
			d.fail(n, path, "", "is a YAML alias; write every value where it is used", "")
			return nil, false
		case *ast.NullNode, nil:
			d.fail(n, path, "", "has no value; give it one or delete the key", "")
			return nil, false
		default:
			return n, true
		}
	}
}

// pair is one key of a mapping with its value.
type pair struct {
	key   string
	at    position // of the key
	value ast.Node
}

// pairs are the keys of a mapping, each once.
func (d *decoder) pairs(n ast.Node, path string) ([]pair, bool) {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		d.fail(n, path, scalarText(n), "is not a mapping", "lines of KEY: VALUE")
		return nil, false
	}
	var pairs []pair
	lines := map[string]int{}
	for _, v := range values {
		at := start(v.Key)
		key, message := keyText(v.Key)
		if message != "" {
			d.report(at, path, "", message, "")
			continue
		}
		if line, ok := lines[key]; ok {
			d.report(at, join(path, key), "", fmt.Sprintf("is given twice; the first is in line %d", line), "")
			continue
		}
		lines[key] = at.line
		pairs = append(pairs, pair{key, at, v.Value})
	}
	return pairs, true
}

// keyText is a key as written, or what is wrong with it.
func keyText(k ast.MapKeyNode) (key, message string) {
	switch k := k.(type) {
	case *ast.MergeKeyNode:
		return "", "<< is a YAML merge key; write every value where it is used"
	case *ast.StringNode:
		return k.Value, ""
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
		return k.GetToken().Value, ""
	}
	return "", "a key must be a plain word"
}
