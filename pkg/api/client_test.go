package api

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab/labtest"
)

func TestDialSaysWhyNobodyAnswers(t *testing.T) {
	dir := t.TempDir()
	stale, file := filepath.Join(dir, "stale"), filepath.Join(dir, "file")
	leaveStale(t, stale)
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		socket string
		want   []string
	}{
		"nothing is there":     {filepath.Join(dir, "none"), []string{"no agent at " + dir, "no such socket", "start anyvip", "--socket"}},
		"no directory":         {filepath.Join(dir, "none", "none"), []string{"no agent at", "no such socket"}},
		"the agent is dead":    {stale, []string{"no agent at " + stale, "dead", "start anyvip"}},
		"a file that is none":  {file, []string{file, "is no socket", "--socket"}},
		"a directory":          {dir, []string{dir, "is no socket"}},
		"a path that is a lie": {strings.Repeat("/x", 100), []string{"connect to /x/x"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Dial(tc.socket)
			if err == nil {
				t.Fatal("connected")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

func TestDialSaysWhoMayAsk(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "anyvip-api") // open to all, unlike t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "anyvip.sock")
	k, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer k.remove()
	const daemon = 1 // a group that every system has
	for name, tc := range map[string]struct {
		prepare func() error
		want    string
	}{
		"root alone":         {func() error { return os.Chown(path, 0, 0) }, "only root may ask"},
		"a group":            {func() error { return os.Chown(path, 0, daemon) }, "members of group daemon"},
		"a closed directory": {func() error { return os.Chmod(dir, 0o700) }, "run this as root"},
	} {
		t.Run(name, func(t *testing.T) {
			if os.Getuid() == 0 {
				if err := tc.prepare(); err != nil {
					t.Fatal(err)
				}
			}
			defer os.Chmod(dir, 0o755)
			var err error
			labtest.AsNobody(t, func() { _, err = Dial(path) })
			if err == nil || !strings.Contains(err.Error(), "permission denied on "+path) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestAnAgentThatDoesNotAnswer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "anyvip.sock")
	l, err := net.Listen("unix", path) // and nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := dial(t, path).Status(ctx); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("error %v", err)
	}
}
