package web

import (
	"net/netip"

	"github.com/anyvip/anyvip/pkg/vip"
)

// Config is where the HTTP server listens.
type Config struct {
	Listen string `yaml:"listen" default:"127.0.0.1:9473" doc:"address and port of /metrics, /healthz and /readyz; \"\": no HTTP server"`
}

// Validate finds what is wrong without looking at the machine. An empty Listen
// means that there is no HTTP server.
func (c Config) Validate() []vip.Problem {
	if c.Listen == "" {
		return nil
	}
	if a, err := netip.ParseAddrPort(c.Listen); err != nil || a.Port() == 0 {
		return []vip.Problem{{Path: "listen", Value: c.Listen, Message: "is no address and port",
			Allowed: "like 127.0.0.1:9473 or [::]:9473; \"\" for none"}}
	}
	return nil
}
