package config

import (
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// scalar is one word of the file.
type scalar struct {
	text   string // without quotes
	plain  bool   // written without quotes
	number bool
	truth  bool // true or false
}

// scalarOf reads a node that isScalar.
func scalarOf(n ast.Node) scalar {
	switch n := n.(type) {
	case *ast.StringNode:
		return scalar{text: n.Value, plain: n.Token.Type == token.StringType}
	case *ast.LiteralNode:
		return scalar{text: n.Value.Value}
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return scalar{text: n.GetToken().Value, plain: true, number: true}
	case *ast.BoolNode:
		return scalar{text: n.Token.Value, plain: true, truth: true}
	}
	return scalar{}
}

func isScalar(n ast.Node) bool {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode, *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode, *ast.BoolNode:
		return true
	}
	return false
}

// scalarText is the value to show for a node of the wrong type: the word, or
// nothing for a list or mapping.
func scalarText(n ast.Node) string {
	if !isScalar(n) {
		return ""
	}
	return scalarOf(n).shown()
}

// shown is the word as it may stand in an error, with the quotes it has.
func (s scalar) shown() string {
	if !s.plain {
		return strconv.Quote(trim(s.text))
	}
	return shown(s.text)
}

// any is the word as a plain Go value.
func (s scalar) any() any {
	if s.truth {
		return strings.EqualFold(s.text, "true")
	}
	if i, err := strconv.ParseInt(s.text, 10, 64); s.number && err == nil {
		return i
	}
	if f, err := strconv.ParseFloat(s.text, 64); s.number && err == nil {
		return f
	}
	return s.text
}

// scalar returns the word at n, or reports that there is none.
func (d *decoder) scalar(n ast.Node, path, allowed string) (scalar, bool) {
	if !isScalar(n) {
		d.fail(n, path, "", "is a list or a mapping, not a single value", allowed)
		return scalar{}, false
	}
	return scalarOf(n), true
}

// word decodes text that is the user's own. A number or a truth value is no
// text: YAML tools disagree on what 1e3 or yes would become.
func (d *decoder) word(n ast.Node, v reflect.Value, path string) {
	s, ok := d.scalar(n, path, "text")
	switch {
	case !ok:
	case s.number, s.truth:
		d.fail(n, path, s.text, "is not text; put it in quotes: "+strconv.Quote(s.text), "")
	default:
		v.SetString(s.text)
	}
}

func (d *decoder) boolean(n ast.Node, v reflect.Value, path string) {
	const allowed = "true or false"
	s, ok := d.scalar(n, path, allowed)
	switch {
	case !ok:
	case !s.truth:
		d.fail(n, path, s.shown(), "is not a truth value", allowed)
	default:
		v.SetBool(strings.EqualFold(s.text, "true"))
	}
}

// whole is a number as we want it written: 010 is 8 to some and 10 to others.
var whole = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

func (d *decoder) integer(n ast.Node, v reflect.Value, path string, f field) {
	low, high := bounds(v.Type(), f)
	allowed := fmt.Sprintf("%d to %d", low, high)
	if v.CanInt() && f.min+f.max == "" {
		allowed = "a whole number" // how large, the part's Validate says
	}
	s, ok := d.scalar(n, path, allowed)
	if !ok {
		return
	}
	switch {
	case !s.plain && whole.MatchString(s.text):
		d.fail(n, path, s.shown(), "is text; write the number without quotes", allowed)
		return
	case !whole.MatchString(s.text):
		d.fail(n, path, s.shown(), "is not a whole number in plain decimal digits", allowed)
		return
	}
	i, err := strconv.ParseInt(s.text, 10, 64)
	if err != nil || i < low || i > high {
		d.fail(n, path, s.shown(), "is out of range", allowed)
		return
	}
	if v.CanInt() {
		v.SetInt(i)
	} else {
		v.SetUint(uint64(i))
	}
}

// bounds are what a key's integer type can hold, narrowed by its tags. No key
// needs more than 32 bits.
func bounds(t reflect.Type, f field) (low, high int64) {
	bits := min(t.Bits(), 32)
	low, high = -1<<(bits-1), 1<<(bits-1)-1
	if reflect.Zero(t).CanUint() {
		low, high = 0, 1<<bits-1
	}
	if f.min != "" {
		low = max(low, mustInt(f.min))
	}
	if f.max != "" {
		high = min(high, mustInt(f.max))
	}
	return low, high
}

func mustInt(s string) int64 {
	i, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic("config: tag min or max: " + err.Error())
	}
	return i
}

// duration decodes a length of time, which always has a unit: a bare 5 would
// be 5 ns to Go and 5 s to everyone else.
func (d *decoder) duration(n ast.Node, v reflect.Value, path string, f field) {
	low, high := time.Duration(0), time.Duration(1<<63-1)
	allowed := "like 500ms, 2s, 1m30s; units ms, s, m, h"
	if f.min != "" {
		low = mustDuration(f.min)
	}
	if f.max != "" {
		high = mustDuration(f.max)
		allowed = f.min + " to " + f.max
	}
	s, ok := d.scalar(n, path, allowed)
	if !ok {
		return
	}
	if _, err := strconv.ParseFloat(s.text, 64); err == nil {
		d.fail(n, path, s.shown(), fmt.Sprintf("has no unit; write %ss or %sms", s.text, s.text), allowed)
		return
	}
	length, err := time.ParseDuration(s.text)
	switch {
	case err != nil:
		d.fail(n, path, s.shown(), "is not a duration", allowed)
	case length < low || length > high:
		d.fail(n, path, s.shown(), "is out of range", allowed)
	default:
		v.SetInt(int64(length))
	}
}

func mustDuration(s string) time.Duration {
	length, err := time.ParseDuration(s)
	if err != nil {
		panic("config: tag min or max: " + err.Error())
	}
	return length
}

// text decodes a type that reads itself from a word.
func (d *decoder) text(n ast.Node, target encoding.TextUnmarshaler, path string) {
	s, ok := d.scalar(n, path, "a single word")
	if ok && len(s.text) > longest {
		d.fail(n, path, s.shown(), "is longer than any such value", "")
		ok = false
	}
	if !ok {
		return
	}
	var message, allowed string
	switch target := target.(type) {
	// The messages of package netip are for programmers.
	case *netip.Addr:
		message, allowed = readAddr(s.text, target)
	case *netip.Prefix:
		message, allowed = readPrefix(s.text, target)
	default:
		if err := target.UnmarshalText([]byte(s.text)); err != nil {
			message = err.Error()
		}
	}
	if message == "" {
		return
	}
	value := s.shown()
	if strings.Contains(message, s.text) || strings.Contains(message, strconv.Quote(s.text)) {
		value = "" // the type's own words say it already
	}
	d.fail(n, path, value, message, allowed)
}

const likeAddr, likePrefix = "like 192.0.2.1 or 2001:db8::1", "like 192.0.2.0/24 or 2001:db8::/48"

func readAddr(s string, a *netip.Addr) (message, allowed string) {
	read, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return "is not an IP address", likeAddr
	case read.Is4In6():
		return "is an IPv4-mapped IPv6 address; write " + read.Unmap().String(), ""
	}
	*a = read
	return "", ""
}

func readPrefix(s string, p *netip.Prefix) (message, allowed string) {
	read, err := netip.ParsePrefix(s)
	if a, aerr := netip.ParseAddr(s); err != nil && aerr == nil {
		return fmt.Sprintf("has no prefix length; a single address is %s/%d", a, a.BitLen()), likePrefix
	}
	switch {
	case err != nil:
		return "is not an IP prefix", likePrefix
	case read.Addr().Is4In6():
		return "is an IPv4-mapped IPv6 prefix; write it as IPv4", likePrefix
	case read != read.Masked():
		return fmt.Sprintf("has host bits; the network is %s", read.Masked()), ""
	}
	*p = read
	return "", ""
}
