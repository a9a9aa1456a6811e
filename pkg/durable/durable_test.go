package durable

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestReplaceIsAllOrNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "file")
	for _, text := range []string{"one", "", "three"} {
		if err := Replace(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if raw, err := os.ReadFile(path); err != nil || string(raw) != text {
			t.Errorf("%q, %v", raw, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if dir, err := os.Stat(filepath.Dir(path)); err != nil || dir.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", dir.Mode(), err)
	}
	// The new file cannot be made where a directory is in its way: the old one stays.
	if err := os.Mkdir(path+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Replace(path, []byte("four")); err == nil {
		t.Error("it was written through a directory")
	}
	if raw, _ := os.ReadFile(path); string(raw) != "three" {
		t.Errorf("%q", raw)
	}
	aside, err := SetAside(path)
	if raw, rerr := os.ReadFile(aside); err != nil || rerr != nil || string(raw) != "three" {
		t.Errorf("%q, %v, %v", raw, err, rerr)
	}
}

func TestThisBoot(t *testing.T) {
	a, err := BootID()
	if b, berr := BootID(); err != nil || berr != nil || a != b || len(a) != 36 {
		t.Errorf("%q, %q, %v", a, b, err)
	}
	first, err := SinceBoot()
	second, serr := SinceBoot()
	if err != nil || serr != nil || first <= 0 || second < first || second-first > time.Minute {
		t.Errorf("%s, %s", first, second)
	}
}

func TestReadDoesNotWaitForWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	pipe, large, file := filepath.Join(dir, "pipe"), filepath.Join(dir, "large"), filepath.Join(dir, "file")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.WriteFile(file, []byte("text"), 0o600), os.WriteFile(large, nil, 0o600), os.Truncate(large, maxFile+1)); err != nil {
		t.Fatal(err)
	}
	if raw, err := Read(file); err != nil || string(raw) != "text" {
		t.Errorf("%q, %v", raw, err)
	}
	for path, want := range map[string]string{pipe: "no regular file", dir: "no regular file", large: "is larger than 16 MiB", filepath.Join(dir, "none"): "no such file"} {
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}
