package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/parser"

	"github.com/anyvip/anyvip/pkg/vip"
)

// field is one key of a struct, from its tags.
type field struct {
	index int
	key   string // empty for the kind of a check
	kind  bool   // exactly one key of checks.Kinds
	byDefault,
	min, max string // as written in a file; empty: none
	doc string
}

// fields returns the keys of a struct type, in the struct's order.
func fields(t reflect.Type) []field {
	var fs []field
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		key, option, _ := strings.Cut(tag.Get("yaml"), ",")
		if key == "-" || key == "" && option != "kind" {
			continue
		}
		fs = append(fs, field{index: i, key: key, kind: option == "kind", byDefault: tag.Get("default"),
			min: tag.Get("min"), max: tag.Get("max"), doc: tag.Get("doc")})
	}
	return fs
}

// fromValuer is a type that reads itself from plain values: string, bool,
// int64, float64, []any and map[string]any.
type fromValuer interface {
	FromValue(v any) []vip.Problem
}

// wordly reports whether a type reads itself.
func wordly(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) || p.Implements(reflect.TypeFor[fromValuer]())
}

// setDefaults gives each key of a struct its default. A default is written and
// read as in a file; one that cannot be read is our own mistake.
func setDefaults(v reflect.Value) {
	for _, f := range fields(v.Type()) {
		target := v.Field(f.index)
		if f.byDefault == "" {
			if target.Kind() == reflect.Struct && !wordly(target.Type()) {
				setDefaults(target)
			}
			continue
		}
		d := newDecoder()
		file, err := parser.ParseBytes([]byte(f.byDefault), 0)
		if err == nil {
			d.value(file.Docs[0].Body, target, f.key, f)
		}
		if err != nil || len(d.problems) > 0 {
			panic(fmt.Sprintf("config: default %q of %s.%s: %v %v", f.byDefault, v.Type(), f.key, err, d.problems))
		}
	}
}
