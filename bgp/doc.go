// Package bgp keeps what our peers have been told equal to what policy wants.
//
// Its Engine takes whole desired sets through Apply, compares every attribute
// with what the Speaker acknowledged, sends the difference in batches, reads
// back each peer's Adj-RIB-Out, and retries until equal. It reports facts about
// sessions and about what was sent. It can be imported without GoBGP: the
// Speaker is a border, implemented in bgp/gobgp. The owner wires the two:
//
//	speaker := gobgp.New(log)
//	engine := bgp.New(bgp.Options{Speaker: speaker, Report: report, Log: log})
//	group.Go(func() error { return engine.Run(ctx) })
//	group.Go(func() error { return speaker.Run(ctx, engine.Notify) })
//
// It must not know services, checks or addresses, and decides nothing. It has
// one goroutine, Run's, which calls the Speaker and Report; Apply and Notify
// leave values in a mailbox.
package bgp
