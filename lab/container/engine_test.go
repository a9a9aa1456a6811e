package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab"
	"github.com/anyvip/anyvip/lab/labtest"
)

// node is the engine's node in its lab.
const node = "engine"

// engine is a Docker engine that runs in a lab, with our images.
type engine struct {
	t *testing.T
	*lab.Lab
	repository string   // this repository's root
	goEnv      []string // so that `make` finds what is compiled already
	compose    []string // `docker compose`, or docker-compose
}

// startEngine starts an engine and ends it with the test, which fails if
// anything is left of it.
func startEngine(t *testing.T) *engine {
	t.Helper()
	e := &engine{t: t, compose: need(t), goEnv: goEnv(t)}
	var err error
	if e.repository, err = filepath.Abs("../.."); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), fmt.Sprintf("anyvip-engine-%d", os.Getpid()))
	for _, sub := range []string{"etc", "opt", "bin"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	before := traces(t, filepath.Base(dir))
	t.Cleanup(func() {
		eventually(t, 10*time.Second, func() error { return nothingLeft(t, filepath.Base(dir), before) })
	})
	file, err := os.ReadFile("testdata/engine.clab.yml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("DIR", dir, "REPOSITORY", e.repository).Replace(string(file))
	e.Lab = labtest.Up(t, labtest.Parse(t, ".", text), lab.Options{Progress: func(string) {}})
	t.Cleanup(func() {
		if err := e.Daemon(node).Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	e.waitUntilReady()
	return e
}

// need skips the test where something is not installed, and returns the words
// that call compose.
func need(t *testing.T) (compose []string) {
	t.Helper()
	if os.Geteuid() != 0 {
		labtest.Missing(t, "a Docker engine", errors.New("it needs root"))
	}
	for _, program := range []string{"dockerd", "docker"} {
		if _, err := exec.LookPath(program); err != nil {
			labtest.Missing(t, program, errors.New("install it with `apt-get install docker.io`"))
		}
	}
	labtest.Need(t, "ip", "frr")
	plugin := exec.Command("docker", "compose", "version")
	plugin.Env = append(os.Environ(), "HOME=/nonexistent") // the node's home is another one
	if plugin.Run() == nil {
		return []string{"docker", "compose"}
	}
	if _, err := exec.LookPath("docker-compose"); err != nil {
		labtest.Missing(t, "docker compose or docker-compose", errors.New("install it with `apt-get install docker-compose`"))
	}
	return []string{"docker-compose"}
}

// goEnv are Go's caches, whatever the home directory is.
func goEnv(t *testing.T) (env []string) {
	t.Helper()
	names := []string{"GOCACHE", "GOMODCACHE"}
	out, err := exec.Command("go", append([]string{"env"}, names...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	for i, value := range strings.Fields(string(out)) {
		env = append(env, names[i]+"="+value)
	}
	return env
}

// waitUntilReady builds our images and returns when the engine has run one. Where
// it cannot, that is the machine's doing: no cgroups, no overlay, no bridges.
func (e *engine) waitUntilReady() {
	e.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := e.command("docker", "version").Run()
		if err == nil {
			break
		}
		if state, stateErr := e.Daemon(node).State(); stateErr != nil || !state.Running || time.Now().After(deadline) {
			labtest.Missing(e.t, "a Docker engine", fmt.Errorf("it does not start: %w\n%s", err, e.Logs(node)))
		}
		time.Sleep(50 * time.Millisecond)
	}
	e.run("make", "image")
	if out, err := e.command("docker", "run", "--rm", "ghcr.io/anyvip/anyvip", "anyvip", "version").CombinedOutput(); err != nil {
		labtest.Missing(e.t, "a Docker engine", fmt.Errorf("it starts no container: %w\n%s\n%s", err, out, e.Logs(node)))
	}
}

// command prepares a command beside the engine, in the repository's root.
func (e *engine) command(argv ...string) *lab.Cmd {
	cmd := e.Command(e.t.Context(), node, argv...)
	cmd.Dir, cmd.Env = e.repository, e.goEnv
	return cmd
}

// run runs a command to its end and returns what it printed. If it fails, so does the test.
func (e *engine) run(argv ...string) string {
	e.t.Helper()
	return e.runWith(nil, argv...)
}

func (e *engine) runWith(stdin io.Reader, argv ...string) string {
	e.t.Helper()
	var complaint bytes.Buffer
	cmd := e.command(argv...)
	cmd.Stdin, cmd.Stderr = stdin, &complaint
	out, err := cmd.Output()
	if err != nil {
		e.t.Fatalf("%v\n%s%s", err, out, complaint.Bytes())
	}
	return string(out)
}

// eventually polls until check returns nil.
func eventually(t *testing.T, limit time.Duration, check func() error) {
	t.Helper()
	for start := time.Now(); ; {
		err := check()
		if err == nil {
			return
		}
		if time.Since(start) > limit {
			t.Fatalf("not within %s: %v", limit, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
