package kernel

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anyvip/anyvip/pkg/vip"
)

func TestAnAddressPutInPlaceOfOursIsNotRemoved(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	a := start(t, t.TempDir(), v4, v6)
	a.until(v4, vip.AddressPresent)
	a.until(v6, vip.AddressPresent)
	a.stop()
	ip(t, "addr del 192.0.2.10/32 dev lo")
	ip(t, "addr add 192.0.2.10/32 dev lo") // an administrator's: scope global
	ip(t, "-6 addr del 2001:db8:10::10/128 dev lo")
	ip(t, "-6 addr add 2001:db8:10::10/128 dev lo") // preferred
	b := start(t, a.dir)
	eventually(t, "the file names nothing", func() bool {
		raw, err := os.ReadFile(filepath.Join(a.dir, "addresses.json"))
		return err == nil && !strings.Contains(string(raw), "link")
	})
	b.stop()
	if len(onHost(t, v4)) == 0 || len(onHost(t, v6)) == 0 {
		t.Error("the administrator's address was removed")
	}
}

func TestASecondAgentWithTheSameStateDirectoryDoesNotStart(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	a := start(t, t.TempDir(), v4)
	a.until(v4, vip.AddressPresent)
	b := newAgent(t, a.dir)
	b.engine.Apply(Desired{})
	if err := b.engine.Run(context.Background()); err == nil || !strings.Contains(err.Error(), a.dir+" belongs to another agent") {
		t.Errorf("Run: %v", err)
	}
	if lost := a.latest().Addresses[v4].Lost; len(lost) != 0 {
		t.Errorf("the first lost its address at %v", lost)
	}
}
