package lab

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestClaimRemovesWhatADeadLabLeft(t *testing.T) {
	base := filepath.Join(t.TempDir(), "base")
	left := filepath.Join(base, "x", "logs")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, "a.log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := claimIn(base, "x")
	if err != nil {
		t.Fatal(err)
	}
	if names, err := os.ReadDir(p.path); err != nil || len(names) > 0 {
		t.Errorf("left: %v, %v", names, err)
	}
	if err := p.remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(base); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the base directory is left: %v", err)
	}
}

func TestClaimTakesNoDirectoryOfOthers(t *testing.T) {
	dir := t.TempDir()
	open, link := filepath.Join(dir, "open"), filepath.Join(dir, "link")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(open, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, base := range []string{open, link} {
		if _, err := claimIn(base, "x"); err == nil || !strings.Contains(err.Error(), "is not a directory of this user with mode 0700") {
			t.Errorf("%s: error %v", base, err)
		}
	}
}
