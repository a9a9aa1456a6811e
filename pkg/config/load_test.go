package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anyvip/anyvip/lab/labtest"
)

// write puts a configuration with a password file into a new directory.
func write(t *testing.T, passwordFile string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "anyvip.yaml")
	text := section("bgp") + section("checks") + section("services")
	text = strings.Replace(text, "asn: 65000}", "asn: 65000, password_file: "+passwordFile+"}", 1)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLoadReadsThePasswordBesideTheFile(t *testing.T) {
	for _, tt := range []struct {
		name, content string
		mode          fs.FileMode
		want          Secret
		problem       string // or warning
	}{
		{"a line", "sesame\n", 0o600, "sesame", ""},
		{"a line of Windows", "sesame\r\n", 0o600, "sesame", ""},
		{"no line end", "sesame", 0o600, "sesame", ""},
		{"only the first line counts", "sesame\nold\n", 0o600, "sesame", ""},
		{"blanks belong to it", " open sesame \n", 0o600, " open sesame ", ""},
		{"80 bytes", strings.Repeat("x", 80) + "\r\n", 0o600, Secret(strings.Repeat("x", 80)), ""},
		{"81 bytes", strings.Repeat("x", 81), 0o600, "", "has a first line of more than 80 bytes"},
		{"a large file", strings.Repeat("x", 1<<20), 0o600, "", "has a first line of more than 80 bytes"},
		{"empty", "", 0o600, "", "is empty"},
		{"an empty line", "\nsesame\n", 0o600, "", "has an empty first line"},
		{"no text", "se\x00same\n", 0o600, "", "is no text"},
		{"readable by everyone", "sesame\n", 0o644, "sesame", "is readable by everyone on this host (mode 0644); chmod 600 it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := write(t, "tor-a.md5")
			password := filepath.Join(filepath.Dir(file), "tor-a.md5")
			if err := os.WriteFile(password, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(password, tt.mode); err != nil {
				t.Fatal(err)
			}
			c, warnings, err := Load(file, "host")
			if tt.want == "" {
				wantProblem(t, err, file, password+": "+tt.problem)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Secrets["tor-a.md5"]; got != tt.want {
				t.Errorf("got %q, want %q", string(got), string(tt.want))
			}
			if got := fmt.Sprint(warnings); (tt.problem != "") != (len(warnings) == 1) || !strings.Contains(got, tt.problem) {
				t.Errorf("warnings %s, want %q", got, tt.problem)
			}
		})
	}
}

// wantProblem wants err to be one problem at the password_file of the only peer.
func wantProblem(t *testing.T, err error, file, want string) {
	t.Helper()
	var invalid *Invalid
	if !errors.As(err, &invalid) || len(invalid.Problems) != 1 {
		t.Fatalf("got %v, want one problem", err)
	}
	if got := err.Error(); !strings.HasPrefix(got, file+":5:71: bgp.peers[0].password_file: "+want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestPasswordFilesThatCannotBeRead(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"missing", "/nonexistent/key", "/nonexistent/key: cannot be read: no such file or directory"},
		{"a directory", "/", "/: cannot be read: not a regular file"},
		{"a device", "/dev/zero", "/dev/zero: cannot be read: not a regular file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := write(t, tt.file)
			_, _, err := Load(file, "host")
			wantProblem(t, err, file, tt.want)
		})
	}
	t.Run("not permitted", func(t *testing.T) {
		file := write(t, "key")
		dir := filepath.Dir(file)
		if err := os.WriteFile(filepath.Join(dir, "key"), []byte("sesame"), 0); err != nil {
			t.Fatal(err)
		}
		for _, f := range []string{filepath.Dir(dir), dir, file} { // all are for their owner alone
			if err := os.Chmod(f, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		labtest.AsNobody(t, func() { _, _, err = Load(file, "host") })
		wantProblem(t, err, file, filepath.Join(dir, "key")+": cannot be read: permission denied")
	})
}

func TestLoadSaysWhyThereIsNoFile(t *testing.T) {
	for _, path := range []string{"/nonexistent/anyvip.yaml", t.TempDir()} {
		_, _, err := Load(path, "host")
		var invalid *Invalid
		if err == nil || errors.As(err, &invalid) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

func TestEqualSeesTheContentsOfPasswordFiles(t *testing.T) {
	file := write(t, "key")
	load := func(password string) *Config {
		if err := os.WriteFile(filepath.Join(filepath.Dir(file), "key"), []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
		c, _, err := Load(file, "host")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first, same, changed := load("sesame\n"), load("sesame\nrotated 2026\n"), load("barley\n")
	if !first.Equal(same) {
		t.Error("the same file and password differ")
	}
	if first.Equal(changed) {
		t.Error("another password makes no difference")
	}
	if first.Equal(mustParse(t, section("bgp")+section("checks")+section("services"))) {
		t.Error("another file makes no difference")
	}
}

func TestSecretsPrintAsPlaceholders(t *testing.T) {
	c := &Config{Secrets: map[string]Secret{"key": "sesame"}}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("loaded", "config", c, "secret", c.Secrets["key"])
	slog.New(slog.NewTextHandler(&log, nil)).Info("loaded", "config", c, "secret", c.Secrets["key"])
	all := log.String() + fmt.Sprintf("%v %+v %#v %s %q", c, c, c, c.Secrets["key"], c.Secrets["key"])
	if strings.Contains(all, "sesame") || !strings.Contains(all, hidden) {
		t.Errorf("the password is printed: %s", all)
	}
}
