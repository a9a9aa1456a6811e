package agent

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/anyvip/anyvip/pkg/policy"
)

// Nothing is opened for a word: there may be no descriptors left.
func TestSystemdIsToldOverOneSocket(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = systemd.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	n := &notifier{log: slog.New(slog.DiscardHandler)}
	if err := n.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.close)
	if err := os.Remove(name); err != nil { // whoever opens it now is not heard
		t.Fatal(err)
	}
	if !n.sayPhase(policy.Running) {
		t.Error("READY was not said")
	}
	word := make([]byte, 100)
	if k, err := systemd.Read(word); err != nil || string(word[:k]) != "READY=1" {
		t.Errorf("%q, %v", word[:k], err)
	}
	_ = systemd.Close()
	if n.say("STATUS=x") || !n.failed {
		t.Error("nobody listens, and it counts as heard")
	}
}

func TestWithoutSystemdAllIsSaid(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	n := &notifier{log: slog.New(slog.DiscardHandler)}
	if err := n.open(); err != nil || !n.sayPhase(policy.Running) {
		t.Errorf("error %v", err)
	}
	n.close()
}
