package container

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
)

// What this machine's FRR needs in an image that starts it as the public one does: tini, a script, watchfrr and FRR's
// own scripts, which need a shell and a few tools.
var (
	frrPrograms = []string{"/bin/bash", "/bin/sh", "cat", "chmod", "date", "dirname", "grep", "id", "install", "ip", "rm", "sleep", "tini", "vtysh",
		"/usr/lib/frr/watchfrr", "/usr/lib/frr/zebra", "/usr/lib/frr/staticd", "/usr/lib/frr/bgpd"}
	frrFiles = []string{"/usr/lib/frr/frrcommon.sh", "/usr/lib/frr/watchfrr.sh", "/etc/passwd", "/etc/group"}
)

const frrStart = `#!/bin/bash
log_success_msg() { echo "$@"; }
log_warning_msg() { echo "$@" >&2; }
log_failure_msg() { echo "$@" >&2; }
. /usr/lib/frr/frrcommon.sh
/usr/lib/frr/watchfrr $(daemon_list)
`

// importFRR makes an image of this machine's FRR under the name of the public one.
func (e *engine) importFRR(name string) {
	e.t.Helper()
	files := slices.Clone(frrFiles)
	for _, program := range frrPrograms {
		path, err := exec.LookPath(program)
		if err != nil {
			e.t.Fatal(err)
		}
		files = append(files, path)
	}
	modules, err := filepath.Glob("/lib/*/security/pam_permit.so")
	if err != nil || len(modules) == 0 {
		e.t.Fatalf("no /lib/*/security/pam_permit.so, which vtysh needs: %v", err)
	}
	files = append(files, modules...)
	files = append(files, e.libraries(files)...)
	argv := append([]string{"--create", "--dereference", "--absolute-names"}, files...)
	archive, err := exec.Command("tar", append(argv, "-C", e.frrOwnFiles(), ".")...).Output()
	if err != nil {
		e.t.Fatalf("tar: %v", err)
	}
	e.runWith(bytes.NewReader(archive), "docker", "import", "-c", `ENTRYPOINT ["tini", "--"]`, "-c", `CMD ["/usr/lib/frr/docker-start"]`, "-", name)
}

// frrOwnFiles is a directory with what is not this machine's. FRR's daemons are
// no root: they need a /run/frr that others may write to.
func (e *engine) frrOwnFiles() string {
	e.t.Helper()
	dir := e.t.TempDir()
	for path, mode := range map[string]os.FileMode{"run/frr": 0o777, "var/run/frr": 0o777, "var/tmp": 0o777, "tmp": 0o777} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(path, 0o755); err != nil {
			e.t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			e.t.Fatal(err)
		}
	}
	for path, text := range map[string]string{
		"etc/pam.d/frr":            "auth sufficient pam_permit.so\naccount sufficient pam_permit.so\n",
		"etc/frr/vtysh.conf":       "service integrated-vtysh-config\n",
		"usr/lib/frr/docker-start": frrStart,
	} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			e.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			e.t.Fatal(err)
		}
	}
	return dir
}

// library finds the paths in what ldd prints.
var library = regexp.MustCompile(`(?m)(?:=> |^\s+)(/\S+) \(`)

// libraries are the shared libraries of files; those that are no programs have none.
func (e *engine) libraries(files []string) (paths []string) {
	e.t.Helper()
	out, _ := exec.Command("ldd", files...).Output() // fails for scripts
	for _, match := range library.FindAllSubmatch(out, -1) {
		paths = append(paths, string(match[1]))
	}
	if len(paths) == 0 {
		e.t.Fatal("ldd names no library of FRR")
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}
