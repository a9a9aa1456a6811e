package config

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/anyvip/anyvip/checks"
	"github.com/anyvip/anyvip/pkg/vip"
)

var durationType = reflect.TypeFor[time.Duration]()

// value decodes n into v, which is addressable. f has the limits of the key
// that n stands under; they hold for each item of a list.
func (d *decoder) value(n ast.Node, v reflect.Value, path string, f field) {
	n, ok := d.plain(n, path)
	if !ok {
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	switch target := v.Addr().Interface().(type) {
	case fromValuer:
		d.fromValue(n, target, path)
		return
	case encoding.TextUnmarshaler:
		d.text(n, target, path)
		return
	}
	switch {
	case v.Type() == durationType:
		d.duration(n, v, path, f)
	case v.Kind() == reflect.Struct:
		setDefaults(v)
		d.object(n, v, path)
	case v.Kind() == reflect.Slice:
		d.list(n, v, path, f)
	case v.Kind() == reflect.String:
		d.word(n, v, path)
	case v.Kind() == reflect.Bool:
		d.boolean(n, v, path)
	case v.CanInt(), v.CanUint():
		d.integer(n, v, path, f)
	default:
		panic(fmt.Sprintf("config: %s has type %s, which no file can hold", path, v.Type()))
	}
}

// object decodes a mapping into a struct.
func (d *decoder) object(n ast.Node, v reflect.Value, path string) {
	pairs, ok := d.pairs(n, path)
	if !ok {
		return
	}
	known := knownKeys(v.Type())
	kind := "" // of a check
	for _, p := range pairs {
		at := join(path, p.key)
		f, ok := known[p.key]
		switch {
		case !ok:
			d.unknown(p, path, known)
		case f.kind && kind != "":
			d.at[at] = p.at
			d.report(p.at, at, "", "is a second kind of check beside "+kind, "exactly one of "+sortedKeys(checks.Kinds()))
		case f.kind:
			kind = p.key
			k := checks.Kinds()[kind]()
			d.value(p.value, reflect.ValueOf(k).Elem(), at, f)
			v.Field(f.index).Set(reflect.ValueOf(k))
		default:
			d.value(p.value, v.Field(f.index), at, f)
		}
	}
}

// knownKeys are the keys of a struct type, every kind of check being one.
func knownKeys(t reflect.Type) map[string]field {
	known := map[string]field{}
	for _, f := range fields(t) {
		if !f.kind {
			known[f.key] = f
			continue
		}
		for kind := range checks.Kinds() {
			f.key = kind
			known[kind] = f
		}
	}
	return known
}

// unknown reports a key that is none of ours. Where it is a slip for one of
// ours, that one is not reported as missing as well.
func (d *decoder) unknown(p pair, path string, known map[string]field) {
	at := join(path, p.key)
	d.at[at] = p.at
	meant := Nearest(p.key, slices.Sorted(maps.Keys(known)))
	if meant == "" {
		d.report(p.at, at, "", "unknown key", sortedKeys(known))
		return
	}
	d.report(p.at, at, "", "unknown key; did you mean "+meant+"?", "")
	d.excused[join(path, meant)] = true
	if known[meant].kind {
		d.excused[path] = true // the item that would seem to have no kind
	}
}

func (d *decoder) list(n ast.Node, v reflect.Value, path string, f field) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.fail(n, path, scalarText(n), "is not a list", "[...], or one line with - for each")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values)))
	for i, item := range seq.Values {
		d.value(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i), f)
	}
}

// fromValue has a type read itself. What it reads is of one piece: a problem
// anywhere in it leaves nothing to look at later.
func (d *decoder) fromValue(n ast.Node, target fromValuer, path string) {
	before := len(d.problems)
	v := d.any(n, path)
	if len(d.problems) == before {
		d.add(vip.Under(path, target.FromValue(v)))
	}
	if len(d.problems) > before {
		d.failed[path] = true
	}
}

// any returns the plain value of n.
func (d *decoder) any(n ast.Node, path string) any {
	n, ok := d.plain(n, path)
	if !ok {
		return nil
	}
	switch n := n.(type) {
	case *ast.SequenceNode:
		list := make([]any, len(n.Values))
		for i, item := range n.Values {
			list[i] = d.any(item, fmt.Sprintf("%s[%d]", path, i))
		}
		return list
	case *ast.MappingNode, *ast.MappingValueNode:
		m := map[string]any{}
		pairs, _ := d.pairs(n, path)
		for _, p := range pairs {
			m[p.key] = d.any(p.value, join(path, p.key))
		}
		return m
	}
	return scalarOf(n).any()
}

func sortedKeys[V any](m map[string]V) string {
	return strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}
