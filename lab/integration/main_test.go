package integration

import (
	"flag"
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

// productDir is where anyvip is as users have it, below the directory of the one
// that most tests run.
const productDir = "product"

// What this binary is in a node that runs it under another name, see rig.role.
const (
	muteName    = "integration-mute-peer"    // takes connections and never says a word
	hostileName = "integration-hostile-peer" // breaks the rules
	clockName   = "integration-clock-step"   // lets a process see another time
)

var roles = map[string]func(args []string) error{
	muteName:    beMute,
	hostileName: beHostile,
	clockName:   stepWallClock,

	discoveryName: printDiscovery,
	macsName:      printMACs,

	sightName: seeSegment,
	claimName: claim,

	postgresName: askPostgres,
}

func TestMain(m *testing.M) {
	os.Setenv("GORACE", "atexit_sleep_ms=0") // for our processes in the labs: a second each otherwise
	lab.Init()
	if be := roles[os.Args[0]]; be != nil {
		if err := be(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
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
	// Tests that are parallel wait most of the time. The command line may say otherwise.
	if err := flag.Set("test.parallel", "6"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build makes three programs: anyvip with the race detector where there is cgo and
// with the hook of the tests, anyvip-lab, and in productDir anyvip as users have it.
func build(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil { // a test is an ordinary user
		return err
	}
	cgo, err := exec.Command("go", "env", "CGO_ENABLED").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	agent := []string{"build", "-tags", "anyvip_testhook"}
	if strings.TrimSpace(string(cgo)) == "1" {
		agent = append(agent, "-race")
	}
	builds := []*exec.Cmd{
		exec.Command("go", append(agent, "-o", dir, "github.com/anyvip/anyvip/cmd/anyvip")...),
		exec.Command("go", "build", "-o", dir, "github.com/anyvip/anyvip/cmd/anyvip-lab"),
		exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, productDir)+"/", "github.com/anyvip/anyvip/cmd/anyvip"),
	}
	builds[2].Env = append(os.Environ(), "CGO_ENABLED=0")
	for _, b := range builds {
		if out, err := b.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(b.Args, " "), err, out)
		}
	}
	return nil
}

// beMute listens where BGP does, or at an address.
func beMute(args []string) error {
	l, err := net.Listen("tcp", append(args, ":179")[0])
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
