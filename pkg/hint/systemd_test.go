package hint

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// systemdPrograms are what a test of units needs.
var systemdPrograms = []string{"/lib/systemd/systemd", "systemctl", "dbus-daemon", "mount", "sleep"}

// busUnits are a message bus like the system's, as systemd knows it. systemd connects to
// the bus once both run.
var busUnits = map[string]string{
	"default.target": "[Unit]\nDefaultDependencies=no\nWants=dbus.socket\n",
	"dbus.socket":    "[Unit]\nDefaultDependencies=no\nConflicts=shutdown.target\n[Socket]\nListenStream=%t/bus\n",
	"dbus.service": "[Unit]\nDefaultDependencies=no\nConflicts=shutdown.target\nRequires=dbus.socket\nAfter=dbus.socket\n" +
		"[Service]\nType=notify\nExecStart=dbus-daemon --config-file=%t/bus.conf --address=systemd: --nofork --nopidfile --systemd-activation\n",
}

// busConfig lets everybody say everything, and has no file of the system's in it.
const busConfig = `<busconfig><type>session</type><listen>unix:tmpdir=/tmp</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`

// forever is a service that runs until it is stopped.
const forever = "[Service]\nType=exec\nExecStart=sleep 600\n"

// systemd is an instance of its own, for a user, at whose bus the engine believes to be at
// the system's: it has the same objects there.
type systemd struct {
	t   testing.TB
	dir string // short: it has sockets
}

// beginSystemd starts systemd in its own cgroup namespace, with its own /run and units.
// It sees the same processes as we do: the bus asks the kernel who is who.
func beginSystemd(t testing.TB) systemd {
	t.Helper()
	needRoot(t)
	needPrograms(t, systemdPrograms...)
	dir, err := os.MkdirTemp("", "hint")
	if err != nil {
		t.Fatal(err)
	}
	s := systemd{t, dir}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for name, text := range busUnits {
		s.write(filepath.Join("units", name), text)
	}
	s.write("bus.conf", busConfig)
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+filepath.Join(dir, "bus"))

	cmd := exec.Command("sh", "-c", "mount -t tmpfs none /run && mkdir -p /run/systemd/system && "+
		"mount -t tmpfs none /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec /lib/systemd/systemd --user --log-target=console")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "XDG_RUNTIME_DIR=" + dir,
		"SYSTEMD_UNIT_PATH=" + filepath.Join(dir, "units") + ":/usr/lib/systemd/user"}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	group := makeCgroup(t)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		UseCgroupFD: true, CgroupFD: int(group.Fd()), // or systemd would take all processes of the machine for its own
		Unshareflags: syscall.CLONE_NEWNS | unix.CLONE_NEWCGROUP,
		Pdeathsig:    syscall.SIGTERM, // it takes its services with it
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		if err := os.WriteFile(filepath.Join(pathOf(group), "cgroup.kill"), []byte("1"), 0); err != nil {
			t.Error(err)
		}
		<-ended
		if t.Failed() {
			t.Logf("systemd said:\n%s", &said)
		}
	})
	poll(t, "systemd listens", func() bool { return s.systemctl("list-units") == nil })
	s.must("start", "dbus.service")
	return s
}

// cgroups is the whole hierarchy, mounted nowhere.
func cgroups() (*os.File, error) {
	hierarchy, err := unix.Fsopen("cgroup2", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(hierarchy)
	if err := unix.FsconfigCreate(hierarchy); err != nil {
		return nil, err
	}
	m, err := unix.Fsmount(hierarchy, unix.FSMOUNT_CLOEXEC, 0)
	return os.NewFile(uintptr(m), "cgroup2"), err
}

func pathOf(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

// makeCgroup makes a cgroup, which is removed once its processes are gone.
func makeCgroup(t testing.TB) *os.File {
	t.Helper()
	all, err := cgroups()
	if err != nil {
		t.Fatalf("cgroup2: %v", err)
	}
	path, err := os.MkdirTemp(pathOf(all), "anyvip-hint-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		var list []string
		_ = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				list = append(list, p)
			}
			return err
		})
		for _, p := range slices.Backward(list) {
			poll(t, "remove "+p, func() bool { return os.Remove(p) == nil })
		}
		_ = all.Close()
	})
	group, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = group.Close() })
	return group
}

func needPrograms(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		if os.Getenv("ANYVIP_REQUIRE_INTEGRATION") == "1" {
			t.Fatalf("needs %s: run lab/peers.sh", name)
		}
		t.Skipf("needs %s: run lab/peers.sh", name)
	}
}

// poll waits for what has no event.
func poll(t testing.TB, what string, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("never: %s", what)
		}
	}
}

func (s systemd) write(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		s.t.Fatal(err)
	}
}

// unit writes a unit. systemd reads it when it is first asked for, or told to.
func (s systemd) unit(name, text string) {
	s.t.Helper()
	s.write(filepath.Join("units", name), "[Unit]\nDefaultDependencies=no\nConflicts=shutdown.target\nStartLimitIntervalSec=0\n"+text)
}

// systemctl talks to systemd without the bus.
func (s systemd) systemctl(args ...string) error {
	cmd := exec.Command("systemctl", append([]string{"--user", "--no-pager"}, args...)...)
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+s.dir, "DBUS_SESSION_BUS_ADDRESS=unix:path=/dev/null")
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.New(strings.Join(cmd.Args, " ") + ": " + err.Error() + ": " + string(out))
	}
	return nil
}

func (s systemd) must(args ...string) {
	s.t.Helper()
	if err := s.systemctl(args...); err != nil {
		s.t.Fatal(err)
	}
}

// kill kills the main process of a unit.
func (s systemd) kill(unit string) {
	s.t.Helper()
	s.must("kill", "--kill-who=main", "--signal=KILL", unit)
}
