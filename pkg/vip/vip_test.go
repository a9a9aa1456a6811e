package vip

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestCommunitiesAsText(t *testing.T) {
	for text, want := range map[string]Community{"65000:100": 65000<<16 | 100, "0:0": 0, "65535:0": GracefulShutdown} {
		var c Community
		if err := c.UnmarshalText([]byte(text)); err != nil || c != want || c.String() != text {
			t.Errorf("%q: %v, %v", text, c, err)
		}
	}
	for _, text := range []string{"", "1", "1:2:3", "65536:0", "0:65536", "-1:0", "a:b", "1:2 ", "+1:2"} {
		if err := new(Community).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken as a community", text)
		}
	}
	var l LargeCommunity
	if err := l.UnmarshalText([]byte("4294967295:0:7")); err != nil || l != (LargeCommunity{4294967295, 0, 7}) || l.String() != "4294967295:0:7" {
		t.Errorf("%v, %v", l, err)
	}
	for _, text := range []string{"", "1:2", "4294967296:0:0", "1:2:3:4"} {
		if err := new(LargeCommunity).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken as a large community", text)
		}
	}
}

// Equal must see every attribute: the engine sends nothing for announcements
// that are Equal.
func TestEqualSeesEveryAttribute(t *testing.T) {
	full := Announcement{Prefix: netip.MustParsePrefix("192.0.2.10/32"), MED: 1, LocalPref: 2, Prepend: 3, Weight: 8,
		Communities: []Community{4}, LargeCommunities: []LargeCommunity{{5, 6, 7}}}
	if !full.Equal(full) {
		t.Fatal("an announcement differs from itself")
	}
	for i := range reflect.TypeFor[Announcement]().NumField() {
		other := full
		f := reflect.ValueOf(&other).Elem().Field(i)
		f.SetZero()
		if full.Equal(other) || other.Equal(full) {
			t.Errorf("%s makes no difference", reflect.TypeFor[Announcement]().Field(i).Name)
		}
	}
}

func TestNormalizeMakesSetsOfCommunities(t *testing.T) {
	given := []Community{9, 4, 9}
	a := Announcement{Communities: given, LargeCommunities: []LargeCommunity{{2, 0, 0}, {1, 9, 9}, {2, 0, 0}}}.Normalize()
	if !slices.Equal(a.Communities, []Community{4, 9}) || !slices.Equal(a.LargeCommunities, []LargeCommunity{{1, 9, 9}, {2, 0, 0}}) {
		t.Errorf("%v %v", a.Communities, a.LargeCommunities)
	}
	if !slices.Equal(given, []Community{9, 4, 9}) {
		t.Error("the caller's slice was changed")
	}
}

func TestWordsAreRead(t *testing.T) {
	for _, s := range []Scope{ScopeLocal, ScopeDependency, ScopeAdvisory} {
		var got Scope
		text, _ := s.MarshalText()
		if err := got.UnmarshalText(text); err != nil || got != s {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, o := range []OnError{OnErrorDegrade, OnErrorHold, OnErrorFail} {
		var got OnError
		text, _ := o.MarshalText()
		if err := got.UnmarshalText(text); err != nil || got != o {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	if err := new(Scope).UnmarshalText([]byte("global")); err == nil || !strings.Contains(err.Error(), "dependency") {
		t.Errorf("error %v does not say what is allowed", err)
	}
}

func TestUnderJoinsPaths(t *testing.T) {
	var got []string
	for _, p := range Under("services[2]", []Problem{{Path: "name"}, {Path: "[0]"}, {}}) {
		got = append(got, p.Path)
	}
	if want := []string{"services[2].name", "services[2][0]", "services[2]"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	p := Problem{Path: "fall", Value: "0", Message: "is out of range", Allowed: "1 to 100"}
	if got, want := p.String(), "fall: 0: is out of range (allowed: 1 to 100)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestAWordOutsideASetDoesNotPanic(t *testing.T) {
	if Outcome(200).String() != "invalid" || SessionState(200).String() != "invalid" {
		t.Error("a value outside its set has a word")
	}
}
