package config

import (
	"reflect"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/checks"
	"github.com/anyvip/anyvip/pkg/api"
	"github.com/anyvip/anyvip/pkg/hook"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/web"
)

// Config is a whole valid configuration. It is not changed once it was loaded.
type Config struct {
	Version   int              `yaml:"version" default:"1" doc:"of this schema"`
	Node      string           `yaml:"node" doc:"this server's name in status, logs and metrics; default: the host name"`
	BGP       bgp.Config       `yaml:"bgp" doc:"the speaker and its peers"`
	Checks    []checks.Config  `yaml:"checks" doc:"what is asked, and how often"`
	Services  []policy.Service `yaml:"services" doc:"the VIPs, and what they require"`
	Hooks     []hook.Config    `yaml:"hooks" doc:"commands that run when a service's disposition changes; nothing waits for them"`
	DrainFile string           `yaml:"drain_file" doc:"absolute path: while this file is there the node is drained; its first line is the reason"`
	API       api.Config       `yaml:"api" doc:"where the command line asks the daemon; read at start, not at a reload"`
	HTTP      web.Config       `yaml:"http" doc:"/metrics, /healthz and /readyz; read at start, not at a reload"`

	// Secrets holds what the password files say, by file name as written.
	Secrets map[string]Secret `yaml:"-"`
}

// Equal compares everything, the contents of password files included. Equal
// configurations need no reload.
func (c *Config) Equal(d *Config) bool { return reflect.DeepEqual(c, d) }

// Password is the content of a peer's password file; empty for a peer without.
func (c *Config) Password(peer bgp.PeerConfig) string { return string(c.Secrets[peer.PasswordFile]) }

// Secret is a password. It prints as a placeholder, also inside other values.
type Secret string

const hidden = "(secret)"

func (Secret) String() string { return hidden }

// GoString hides it from %#v too.
func (Secret) GoString() string { return hidden }

// MarshalText hides it from JSON and from logs.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }
