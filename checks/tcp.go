package checks

import (
	"context"
	"fmt"
	"io"

	"github.com/anyvip/anyvip/pkg/vip"
)

// maxExpect is how much of what a server says is searched for TCP.Expect.
const maxExpect = 4 << 10

// TCP asks whether a port takes connections and, where wanted, gives the right
// answer. Each probe is a new connection.
type TCP struct {
	Address string `yaml:"address" doc:"HOST:PORT"`
	Send    string `yaml:"send" doc:"sent once connected; in double quotes, \\r\\n is a line end"`
	Expect  string `yaml:"expect" doc:"must appear in the first 4 KiB of what the server says; default: being connected is enough"`
}

// Describe returns tcp and the address.
func (t *TCP) Describe() (name, target string) { return "tcp", t.Address }

func (t *TCP) connectsTo() string { return t.Address }

// Validate finds what is wrong.
func (t *TCP) Validate() []vip.Problem {
	return append(validateAddress("address", t.Address), validateWanted("expect", t.Expect)...)
}

// Checker returns the probe; its error is always nil.
func (t *TCP) Checker() (Checker, error) { return tcpChecker{t}, nil }

type tcpChecker struct{ *TCP }

// Probe connects, sends and listens.
func (t tcpChecker) Probe(ctx context.Context) vip.Result {
	c, err := dial(ctx, "tcp", t.Address)
	if err != nil {
		return failure("connect to "+t.Address, err, vip.ClassUnreachable)
	}
	defer c.Close()
	if t.Send != "" {
		if _, err := io.WriteString(c, t.Send); err != nil {
			return failure("send to "+t.Address, err, vip.ClassReset)
		}
	}
	if t.Expect == "" {
		return vip.Result{Outcome: vip.Pass}
	}
	found, err := find(c, t.Expect, maxExpect)
	if err != nil {
		return failure(fmt.Sprintf("wait for %q from %s", t.Expect, t.Address), err, vip.ClassReset)
	}
	if !found {
		return vip.Result{Outcome: vip.Fail, Class: vip.ClassBody, Detail: fmt.Sprintf("%s did not say %q", t.Address, t.Expect)}
	}
	return vip.Result{Outcome: vip.Pass}
}
