package agent

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/anyvip/anyvip/pkg/kernel/lease"
	"github.com/anyvip/anyvip/vrrp"
	"github.com/anyvip/anyvip/vrrp/wire"
)

// addresses takes what is to be announced.
type addresses struct{ list []wire.Announcement }

func (a *addresses) Set(list []wire.Announcement) { a.list = list }

func (a *addresses) Run(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestWhatIsThereIsAnnouncedBeforeTheRestIs: it does not wait for the report of all, and
// the leases are not asked for again.
func TestWhatIsThereIsAnnouncedBeforeTheRestIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked [][]lease.Lease
		var told addresses
		s := newSegment(func(l []lease.Lease) { asked = append(asked, l) }, func(vrrp.Link) announces { return &told })
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.run(ctx) }()
		one, two := netip.MustParseAddr("10.0.1.100"), netip.MustParseAddr("10.0.1.101")
		link := vrrp.Link{Name: "eth0", Index: 2}
		s.Answer(vrrp.Answer{Router: "web", Addresses: []vrrp.Address{{Addr: one, Interface: link}, {Addr: two, Interface: link}}, Held: true, Announce: 1})
		synctest.Wait()
		if len(asked) != 1 || len(asked[0]) != 2 || len(told.list) != 0 {
			t.Errorf("asked for %+v, announces %+v", asked, told.list)
		}
		s.added([]netip.Addr{one})
		synctest.Wait()
		if len(asked) != 1 || len(told.list) != 1 || told.list[0].Addr != one {
			t.Errorf("asked for %+v, announces %+v", asked, told.list)
		}
		s.added([]netip.Addr{two})
		synctest.Wait()
		if len(asked) != 1 || len(told.list) != 2 {
			t.Errorf("asked for %+v, announces %+v", asked, told.list)
		}
		stop()
		<-ended
	})
}
