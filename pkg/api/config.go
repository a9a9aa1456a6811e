package api

import (
	"path/filepath"
	"slices"

	"github.com/anyvip/anyvip/pkg/vip"
)

// Config is where the API is served.
type Config struct {
	Socket    string   `yaml:"socket" default:"/run/anyvip/anyvip.sock" doc:"unix socket of the API; an absolute path"`
	Group     string   `yaml:"group" doc:"members of this group may connect, and see status; default: root's"`
	Operators []string `yaml:"operators" doc:"users that may drain and probe, besides root; they need group, too"`
}

// Equal compares everything.
func (c Config) Equal(d Config) bool {
	return c.Socket == d.Socket && c.Group == d.Group && slices.Equal(c.Operators, d.Operators)
}

// maxSocket is the longest path that fits into a unix socket address.
const maxSocket = 107

// Validate finds what is wrong without looking at the machine.
func (c Config) Validate() []vip.Problem {
	if !filepath.IsAbs(c.Socket) || len(c.Socket) > maxSocket {
		return []vip.Problem{{Path: "socket", Value: c.Socket, Message: "cannot be a unix socket",
			Allowed: "an absolute path of at most 107 bytes"}}
	}
	return nil
}
