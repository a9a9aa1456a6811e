package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/lab/watch/rtnl"
)

// resyncInterval bounds how long a kernel route that something else changed stays wrong.
const resyncInterval = time.Second

// Router is one lab router. Make it with New, run it once.
type Router struct {
	config Config
	log    *slog.Logger
	ready  func()

	kernel *netlink.Handle
	links  links
	table  table
	fib    *fib
	// up has the AS numbers of the sessions that are Established.
	up map[netip.Addr]uint32
}

// New makes a router from a checked configuration (Load, Parse). ready, which may be nil, is called by Run once the
// router accepts sessions.
func New(c Config, log *slog.Logger, ready func()) *Router {
	if ready == nil {
		ready = func() {}
	}
	return &Router{config: c, log: log, ready: ready, table: table{}, up: map[netip.Addr]uint32{}}
}

// Run serves until ctx ends, then closes the sessions with a Cease, removes its kernel routes and returns nil. It
// returns an error when it cannot listen or cannot reach the kernel.
func (r *Router) Run(ctx context.Context) error {
	kernel, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer kernel.Close()
	r.kernel, r.fib = kernel, newFIB(kernel)

	hints, err := rtnl.Listen(unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return fmt.Errorf("listen for link changes: %w", err)
	}
	defer func() { _ = hints.Close() }()
	if err := r.lookAtKernel(); err != nil {
		return err
	}
	for _, w := range sysctlWarnings() {
		r.log.Warn("this namespace does not route as a ToR does", "set", w)
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, inner := errgroup.WithContext(ctx)
	changes := make(chan change, 1024)
	moved := make(chan struct{}, 1)
	speaker, err := startSpeaker(inner, r.config, r.log, changes)
	if err != nil {
		return err
	}
	group.Go(func() error { return listen(inner, hints, moved) })
	group.Go(func() error {
		<-inner.Done()
		return hints.Close() // wakes listen
	})
	group.Go(func() error { return r.loop(inner, changes, moved) })
	r.log.Info("router is ready", "asn", r.config.ASN, "router_id", r.config.RouterID, "port", r.config.Listen.Port)
	r.ready()

	err = group.Wait()
	speaker.stop()
	return errors.Join(err, r.fib.clear())
}

// listen turns link and address changes into a hint, latest wins.
func listen(ctx context.Context, hints *rtnl.Listener, moved chan<- struct{}) error {
	for {
		_, err := hints.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !errors.Is(err, rtnl.ErrOverflow):
			return fmt.Errorf("listen for link changes: %w", err)
		}
		select {
		case moved <- struct{}{}:
		default:
		}
	}
}

func (r *Router) loop(ctx context.Context, changes <-chan change, moved <-chan struct{}) error {
	tick := time.NewTicker(resyncInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-changes:
			r.apply(c)
		case <-moved:
			r.refresh()
		case <-tick.C:
			r.refresh()
		}
	}
}

// apply takes one change into the table and writes the routes that it touches.
func (r *Router) apply(c change) {
	for _, p := range c.paths {
		path, ok := newPath(p, c.at)
		if !ok {
			continue
		}
		if p.Withdrawal || !path.NextHop.IsValid() {
			r.table.remove(path.Prefix, path.Peer)
		} else {
			r.table.set(path)
		}
		r.write(path.Prefix, c.at)
	}
	if c.session != nil {
		r.session(*c.session, c.at)
	}
}

// session logs the change. GoBGP has withdrawn a lost session's paths by then; what might be left goes here.
func (r *Router) session(s session, at time.Time) {
	asn, was := r.up[s.peer]
	switch {
	case s.established && !was:
		r.up[s.peer] = s.asn
		r.log.Info("session is up", "peer", s.peer, "asn", s.asn)
	case !s.established && was:
		delete(r.up, s.peer)
		r.log.Info("session is down", "peer", s.peer, "asn", asn, "reason", strings.TrimSpace(s.why))
		for _, prefix := range r.table.prefixes() {
			r.table.remove(prefix, s.peer)
			r.write(prefix, at)
		}
	}
}

// refresh compares the kernel with the table: links may have come or gone, and the kernel drops the routes of a link
// that goes by itself.
func (r *Router) refresh() {
	if err := r.lookAtKernel(); err != nil {
		r.log.Error("look at the kernel", "error", err)
		return
	}
	now := time.Now()
	wanted := map[netip.Prefix]bool{}
	for _, prefix := range r.table.prefixes() {
		wanted[prefix] = true
		r.write(prefix, now)
	}
	for prefix := range r.fib.installed {
		if !wanted[prefix] {
			r.write(prefix, now)
		}
	}
}

func (r *Router) lookAtKernel() error {
	links, err := readLinks(r.kernel)
	if err != nil {
		return err
	}
	r.links = links
	return r.fib.resync()
}

// write makes the kernel's route what the table says now. since is when the cause was known. A route that the kernel
// refuses is logged and tried again with the next refresh.
func (r *Router) write(prefix netip.Prefix, since time.Time) {
	want := r.table.route(prefix, r.links, r.config.MaxPaths)
	changed, err := r.fib.set(prefix, want)
	if err != nil {
		r.log.Error("write the kernel route", "prefix", prefix, "error", err)
		return
	}
	if changed {
		r.log.Info("route changed", "prefix", prefix, "next_hops", want.String(), "after", time.Since(since).Round(time.Microsecond))
	}
}

// sysctlWarnings names the settings without which packets are not spread. They belong to whoever made the namespace.
func sysctlWarnings() []string {
	var out []string
	for _, s := range []struct{ key, want string }{
		{"net.ipv4.ip_forward", "1"},
		{"net.ipv6.conf.all.forwarding", "1"},
		{"net.ipv4.fib_multipath_hash_policy", "1"}, // by ports: else all of one client's connections take one path
		{"net.ipv6.fib_multipath_hash_policy", "1"},
	} {
		is, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(s.key, ".", "/"))
		if err == nil && strings.TrimSpace(string(is)) == "0" {
			out = append(out, s.key+"="+s.want)
		}
	}
	return out
}
