package hook

import (
	"slices"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

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
	ps = append(ps, vip.CommandProblems("command", c.Command)...)
	if c.Timeout < 100*time.Millisecond || c.Timeout > 10*time.Minute {
		ps = append(ps, vip.Problem{Path: "timeout", Value: c.Timeout.String(), Message: "is out of range", Allowed: "100ms to 10m"})
	}
	return ps
}
