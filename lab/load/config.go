package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"time"
)

// Config says what to ask, how often and for how long.
type Config struct {
	// Target is a http URL; its host must be an address, so that no resolver is part of the measurement. With Ask it
	// is only a name.
	Target string
	// Ask makes one request of another kind and returns who answered; default: HTTP. It ends with its context.
	Ask func(context.Context) (server string, err error)
	// Rate is new connections per second. 0 means as fast as InFlight allows.
	Rate float64
	// Count and Duration end the run, whichever comes first; 0 is no bound. Without either it lasts until ctx ends.
	Count    int
	Duration time.Duration
	// Timeout covers a request from its start to the end of its answer; default 1s.
	Timeout time.Duration
	// InFlight bounds the requests under way when Rate is 0; default 32. With a rate nothing is bounded.
	InFlight int
	// Each reports every request, not only the failed ones.
	Each bool
}

// Spread is a run of n connections as fast as is reasonable.
func Spread(target string, n int) Config { return Config{Target: target, Count: n} }

const defaultInFlight = 32

// check fills in defaults, and finds what makes no sense.
func (c *Config) check() error {
	if c.Timeout == 0 {
		c.Timeout = time.Second
	}
	if c.InFlight == 0 {
		c.InFlight = defaultInFlight
	}
	if c.Rate < 0 || c.Count < 0 || c.Duration < 0 || c.Timeout < 0 || c.InFlight < 0 {
		return errors.New("rate, count, duration, timeout and in-flight must not be negative")
	}
	if c.Rate > 0 && time.Duration(float64(time.Second)/c.Rate) == 0 {
		return fmt.Errorf("rate %g is too high", c.Rate)
	}
	return nil
}

// http returns the address to dial and the request to send.
func (c *Config) http() (address, request string, err error) {
	u, err := url.Parse(c.Target)
	if err != nil {
		return "", "", fmt.Errorf("target: %w", err)
	}
	host, err := netip.ParseAddr(u.Hostname())
	if u.Scheme != "http" || err != nil {
		return "", "", fmt.Errorf("target: %q is no http URL with an address, like http://192.0.2.10/", c.Target)
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	request = fmt.Sprintf("GET %s HTTP/1.0\r\nHost: %s\r\nUser-Agent: anyvip-lab\r\n\r\n", u.RequestURI(), u.Host)
	return net.JoinHostPort(host.String(), port), request, nil
}
