package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/anyvip/anyvip/lab"
)

// stage is a running lab, and what is to end with it.
type stage struct {
	dir    string // the lab's files; its name is the lab's
	lab    *lab.Lab
	cancel context.CancelFunc
	shells []*shell
	inputs []io.Closer       // what commands read from
	feeds  []<-chan struct{} // each closed when that feed has ended
}

// start brings a lab up; describe writes its files and describes it.
func (s *stage) start(ctx context.Context, binaries string, describe func() (*lab.Topology, error)) (err error) {
	if s.dir, err = os.MkdirTemp("", "anyvip-bench-"); err != nil {
		return err
	}
	topo, err := describe()
	if err != nil {
		return err
	}
	s.lab, err = lab.Up(ctx, topo, lab.Options{Binaries: binaries})
	return err
}

// startShell starts a shell in a node, which ends with the stage.
func (s *stage) startShell(ctx context.Context, node string) (*shell, error) {
	sh, err := startShell(ctx, s.lab, node)
	if err == nil {
		s.shells = append(s.shells, sh)
	}
	return sh, err
}

// follow makes down wait for the end of a feed.
func (s *stage) follow(done <-chan struct{}) { s.feeds = append(s.feeds, done) }

// down takes the lab down and adds to err what went wrong with that; nothing is left.
func (s *stage) down(err *error) {
	s.cancel()
	errs := []error{*err}
	for _, sh := range s.shells {
		sh.end()
	}
	for _, in := range s.inputs {
		_ = in.Close() // a pipe
	}
	if s.lab != nil {
		errs = append(errs, s.lab.Down())
	}
	for _, done := range s.feeds {
		<-done
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	*err = errors.Join(errs...)
}

// lastLogged is what some nodes logged last.
func (s *stage) lastLogged(nodes ...string) string {
	var b strings.Builder
	for _, node := range nodes {
		lines := slices.Collect(strings.Lines(s.lab.Logs(node)))
		fmt.Fprintf(&b, "--- log of %s\n%s", node, strings.Join(lines[max(0, len(lines)-15):], ""))
	}
	return b.String()
}
