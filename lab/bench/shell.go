package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/anyvip/anyvip/lab"
)

// shell is a shell that waits in a node, so that a command is issued without the cost of getting there.
type shell struct {
	cmd *lab.Cmd
	in  *os.File
	out *text
}

func startShell(ctx context.Context, l *lab.Lab, node string) (*shell, error) {
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	s := &shell{cmd: l.Command(ctx, node, "sh"), in: ours, out: &text{}}
	s.cmd.Stdin, s.cmd.Stderr = theirs, s.out
	if err := s.cmd.Start(); err != nil {
		_ = ours.Close()
		return nil, err
	}
	return s, nil
}

// say issues a line and returns when. It does not wait for the line's end.
func (s *shell) say(line string) (time.Time, error) {
	now := time.Now()
	_, err := s.in.WriteString(line + "\n")
	return now, err
}

// end ends the shell; how it ended says nothing.
func (s *shell) end() {
	_ = s.in.Close()
	_ = s.cmd.Wait()
}

// complaint is what the lines wrote to standard error.
func (s *shell) complaint() string { return s.out.String() }

// text is a bytes.Buffer for several goroutines.
type text struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (t *text) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.Write(b)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}

// output runs a line of shell in a node to its end and returns what it printed.
func output(ctx context.Context, l *lab.Lab, node, line string) (string, error) {
	out, err := l.Command(ctx, node, "sh", "-c", line).Output()
	return strings.TrimSpace(string(out)), err
}

// fill writes a file of a lab, with the values in its text replaced.
func fill(file, content string, pairs ...string) error {
	content = strings.NewReplacer(pairs...).Replace(content)
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		return fmt.Errorf("write a configuration of the lab: %w", err)
	}
	return nil
}
