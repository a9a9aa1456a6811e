package web

import (
	"net/netip"

	"github.com/anyvip/anyvip/pkg/vip"
)

// Config is where the HTTP server listens.
type Config struct {
	Listen string `yaml:"listen" default:"127.0.0.1:9473" doc:"address and port of /metrics, /healthz, /readyz and the page"`
}

// Validate finds what is wrong without looking at the machine.
func (c Config) Validate() []vip.Problem {
	if _, err := netip.ParseAddrPort(c.Listen); err != nil {
		return []vip.Problem{{Path: "listen", Value: c.Listen, Message: "is no address and port",
			Allowed: "like 127.0.0.1:9473 or [::]:9473"}}
	}
	return nil
}
