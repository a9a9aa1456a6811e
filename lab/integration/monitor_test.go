package integration

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
)

// addressEvent is a line of `ip monitor address`: an address that was added or
// changed, or deleted.
type addressEvent struct {
	At      time.Time
	Deleted bool
	Address string // with its length
}

// monitor follows the addresses of a node's lo. It waits until it misses nothing.
func (r *rig) monitor(node string) *instrument[addressEvent] {
	r.t.Helper()
	f := follow(r, decodeAddresses, node, "ip", "-tshort", "-oneline", "monitor", "address")
	// A change of our own shows that the socket is open.
	const probe = "127.77.77.77/32"
	eventually(r.t, patience, func() error {
		r.sh(node, "ip address add "+probe+" dev lo; ip address del "+probe+" dev lo")
		if len(f.all(func(e addressEvent) bool { return e.Address == probe })) == 0 {
			return fmt.Errorf("ip monitor on %s shows nothing", node)
		}
		return nil
	})
	return f
}

// decodeAddresses reads lines like
//
//	[2026-11-22T18:52:07.318009] Deleted 1: lo    inet 192.0.2.10/32 scope host lo\ ...
func decodeAddresses(r io.Reader) iter.Seq2[addressEvent, error] {
	return func(yield func(addressEvent, error) bool) {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			stamp, rest, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "["), "] ")
			at, err := time.ParseInLocation("2006-01-02T15:04:05.999999", stamp, time.Local)
			if err != nil {
				yield(addressEvent{}, fmt.Errorf("ip monitor: %q: %w", lines.Text(), err))
				return
			}
			fields := strings.Fields(rest)
			for i, f := range fields {
				if (f == "inet" || f == "inet6") && i+1 < len(fields) {
					if !yield(addressEvent{At: at, Deleted: fields[0] == "Deleted", Address: fields[i+1]}, nil) {
						return
					}
				}
			}
		}
	}
}
