package hook

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// Command is what to run, and for how long at most.
type Command struct {
	Command []string      `yaml:"command" doc:"program (absolute path) and arguments; no shell, and without capabilities. The event comes as JSON on standard input"`
	Timeout time.Duration `yaml:"timeout" default:"10s" doc:"then it is killed, 100ms to 10m"`
}

// Config is one hook.
type Config struct {
	Name     string        `yaml:"name" doc:"unique name, used in status, logs and metrics"`
	Command  []string      `yaml:"command" doc:"program (absolute path) and arguments; no shell, and without capabilities. The event comes as JSON on standard input"`
	Services []string      `yaml:"services" doc:"whose changes; default: those of all"`
	Timeout  time.Duration `yaml:"timeout" default:"10s" doc:"then it is killed, 100ms to 10m"`
}

// Equal compares everything.
func (c Config) Equal(d Config) bool {
	return c.Name == d.Name && slices.Equal(c.Command, d.Command) && slices.Equal(c.Services, d.Services) && c.Timeout == d.Timeout
}

// Validate finds what is wrong with the hook by itself.
func (c Config) Validate() (ps []vip.Problem) {
	if c.Name == "" {
		ps = append(ps, vip.Problem{Path: "name", Message: "is missing"})
	}
	return append(ps, Command{c.Command, c.Timeout}.Validate()...)
}

// Validate finds what is wrong. Whether the program is there is seen when it is run.
func (c Command) Validate() (ps []vip.Problem) {
	switch {
	case len(c.Command) == 0:
		ps = append(ps, vip.Problem{Path: "command", Message: "is missing", Allowed: "[PROGRAM, ARGUMENT, ...]"})
	case !filepath.IsAbs(c.Command[0]):
		ps = append(ps, vip.Problem{Path: "command[0]", Value: c.Command[0], Message: "is not an absolute path"})
	}
	for i, arg := range c.Command {
		if strings.ContainsRune(arg, 0) {
			ps = append(ps, vip.Problem{Path: fmt.Sprintf("command[%d]", i), Value: fmt.Sprintf("%q", arg), Message: "has a zero byte"})
		}
	}
	if c.Timeout < 100*time.Millisecond || c.Timeout > 10*time.Minute {
		ps = append(ps, vip.Problem{Path: "timeout", Value: c.Timeout.String(), Message: "is out of range", Allowed: "100ms to 10m"})
	}
	return ps
}
