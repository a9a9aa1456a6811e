package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// describeMachine says on what the figures were measured, one line for each thing.
func describeMachine(ctx context.Context, binaries string) ([]string, error) {
	var uname unix.Utsname
	if err := unix.Uname(&uname); err != nil {
		return nil, fmt.Errorf("ask the kernel for its version: %w", err)
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return nil, fmt.Errorf("ask the kernel for its memory: %w", err)
	}
	lines := []string{
		"Date: " + time.Now().UTC().Format("2006-01-02 15:04 UTC"),
		fmt.Sprintf("Machine: %s, %d cores, %.0f GiB, Linux %s; load %.1f before the run", field("/proc/cpuinfo", "model name"), runtime.NumCPU(),
			float64(info.Totalram)*float64(info.Unit)/(1<<30), unix.ByteSliceToString(uname.Release[:]), float64(info.Loads[0])/(1<<16)), // fixed point, see sysinfo(2)
	}
	ours, err := exec.CommandContext(ctx, filepath.Join(binaries, "anyvip"), "version").Output()
	if err != nil {
		return nil, fmt.Errorf("ask anyvip for its version: %w", err)
	}
	said := strings.Split(strings.TrimSpace(string(ours)), "\n") // the version, the commit, what it is built with
	versions := []string{fmt.Sprintf("%s (%s)", said[0], said[len(said)-1])}
	for _, p := range peers {
		version, err := p.version()
		if err != nil {
			return nil, err
		}
		versions = append(versions, p.name+" "+version)
	}
	return append(lines, "Programs: "+strings.Join(versions, ", ")), nil
}

// field is a value of a file of lines "name : value".
func field(file, name string) string {
	f, err := os.Open(file)
	if err != nil {
		return "unknown CPU"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

// peer is a program of others that is measured or measured with.
type peer struct {
	name, pkg string
	argv      []string // prints the version
}

var peers = []peer{
	{"BIRD", "bird2", []string{"bird", "--version"}},
	{"ExaBGP", "exabgp", []string{"exabgp", "--version"}},
	{"gobgpd", "gobgpd", []string{"gobgpd", "--version"}},
	{"FRR", "frr", []string{"/usr/lib/frr/bgpd", "--version"}},
	{"curl", "curl", []string{"curl", "--version"}}, // ExaBGP's health check runs it
	{"keepalived", "keepalived", []string{"keepalived", "--version"}},
}

// Missing says which programs are not on this machine that anyvip is compared with, and how to get them.
func Missing() error {
	var pkgs []string
	for _, p := range peers {
		if _, err := p.path(); err != nil {
			pkgs = append(pkgs, p.pkg)
		}
	}
	if len(pkgs) > 0 {
		return fmt.Errorf("not on this machine: %[1]s; install with `apt-get install %[1]s`, or with `make peers`, which starts no service", strings.Join(pkgs, " "))
	}
	return nil
}

// path finds the program, also where /usr/sbin is not on the caller's PATH.
func (p peer) path() (string, error) {
	if path, err := exec.LookPath(p.argv[0]); err == nil {
		return path, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", p.argv[0]))
}

// version asks the program, which may say it on standard error, and among other words: it is the first one that
// begins with a digit, or a v and a digit, and has a dot.
func (p peer) version() (string, error) {
	path, err := p.path()
	if err != nil {
		return "", err
	}
	out, err := exec.Command(path, p.argv[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", p.name, err)
	}
	for word := range strings.FieldsSeq(string(out)) {
		if number := strings.TrimPrefix(word, "v"); number != "" && number[0] >= '0' && number[0] <= '9' && strings.Contains(number, ".") {
			return number, nil
		}
	}
	return "", fmt.Errorf("%s does not say its version: %q", p.name, out)
}
