package integration

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anyvip/anyvip/lab"
)

// muteName is the name under which a node runs this binary as a peer that takes
// connections and never says a word.
const muteName = "integration-mute-peer"

func TestMain(m *testing.M) {
	os.Setenv("GORACE", "atexit_sleep_ms=0") // for our processes in the labs: a second each otherwise
	lab.Init()
	if os.Args[0] == muteName {
		fmt.Fprintln(os.Stderr, beMute())
		os.Exit(1)
	}
	os.Exit(run(m))
}

// run builds both binaries and puts them where labs and tests find them: first
// on PATH.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "anyvip-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	os.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return m.Run()
}

// build makes anyvip with the race detector where there is cgo, and anyvip-lab.
func build(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil { // a test is an ordinary user
		return err
	}
	cgo, err := exec.Command("go", "env", "CGO_ENABLED").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	agent := []string{"build", "-o", dir, "github.com/anyvip/anyvip/cmd/anyvip"}
	if strings.TrimSpace(string(cgo)) == "1" {
		agent = []string{"build", "-race", "-o", dir, "github.com/anyvip/anyvip/cmd/anyvip"}
	}
	for _, args := range [][]string{agent, {"build", "-o", dir, "github.com/anyvip/anyvip/cmd/anyvip-lab"}} {
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// beMute listens where BGP does.
func beMute() error {
	l, err := net.Listen("tcp", ":179")
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() { _, _ = io.Copy(io.Discard, c) }()
	}
}
