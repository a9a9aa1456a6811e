package lab_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/anyvip/anyvip/lab/labtest"
)

// ordinaryUser is a user id that owns nothing.
const ordinaryUser = 54321

// TestAsOrdinaryUser runs the tests of whole labs again without root's rights, in
// a process of its own.
func TestAsOrdinaryUser(t *testing.T) {
	runAsUser(t, "^TestLab", "true")
}

// TestAsOrdinaryUserOverMounts does so where the host's /etc and /var have mounts
// in them, as in a container: a user namespace may not overlay those.
func TestAsOrdinaryUserOverMounts(t *testing.T) {
	runAsUser(t, "^TestLabShowsItsNodes$", "mount --bind /etc/hosts /etc/hosts && mount -t tmpfs tmpfs /var/cache")
}

// runAsUser runs tests of this binary as a user that owns nothing, after a shell
// in the same mount namespace did prepare.
func runAsUser(t *testing.T, tests, prepare string) {
	labtest.Need(t, "namespaces")
	if os.Geteuid() != 0 {
		t.Skip("this is an ordinary user: the other tests are the test")
	}
	if _, err := exec.LookPath("setpriv"); err != nil {
		labtest.Missing(t, "setpriv (util-linux)", err)
	}
	// The user may not enter the directory that `go test` built the binary in.
	dir, err := os.MkdirTemp("", "lab-user-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "lab.test")
	copyBinary(t, binary)
	line := fmt.Sprintf("%s && exec setpriv --reuid=%d --regid=%[2]d --clear-groups %s -test.run='%s' -test.timeout=90s -test.v=%t",
		prepare, ordinaryUser, binary, tests, testing.Verbose())
	cmd := exec.Command("sh", "-c", line)
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); name != "XDG_RUNTIME_DIR" && name != "HOME" {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS} // its mounts are private, Go sees to that
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("as user %d: %v", ordinaryUser, err)
	}
}

func copyBinary(t *testing.T, to string) {
	t.Helper()
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}
