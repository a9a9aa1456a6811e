package durable

import (
	"strings"
	"testing"
)

func TestDecodeLosesNothing(t *testing.T) {
	type file struct {
		Version int `json:"version"`
		Life
	}
	var f file
	if err := Decode([]byte(`{"version": 1, "boot_id": "b", "netns_cookie": "7"}`+"\n"), &f); err != nil || f != (file{1, Life{Boot: "b", Netns: "7"}}) {
		t.Errorf("%v, %v", f, err)
	}
	for content, want := range map[string]string{
		``:                                   "EOF",
		`{"version": 1, "boot`:               "unexpected EOF",
		`{"version": 1, "later": true}`:      `unknown field "later"`,
		`{"version": 1} {"version": 1}`:      "something follows the end",
		`{"version": "one", "boot_id": "b"}`: "cannot unmarshal",
	} {
		if err := Decode([]byte(content), new(file)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", content, err, want)
		}
	}
}

func TestThisLifeIsOfThisBootAndNamespace(t *testing.T) {
	l, err := ThisLife()
	if err != nil {
		t.Fatal(err)
	}
	boot, err := BootID()
	if err != nil || l.Boot != boot || boot == "" {
		t.Errorf("%v, boot is %q, %v", l, boot, err)
	}
	if again, err := ThisLife(); err != nil || again != l {
		t.Errorf("first %v, then %v, %v", l, again, err)
	}
}
