package bench

import (
	"context"
	"net/netip"

	"github.com/anyvip/anyvip/lab"
)

// upBare brings servers without a speaker up, each with a web service and a daemon of this package, behind a ToR
// without a router.
func (b *bench) upBare(ctx context.Context, p plan, daemon []string) (s *site, err error) {
	ctx, cancel := context.WithCancel(ctx)
	p.speaker = speaker{
		name:  "no speaker",
		files: func(string, server, []netip.Prefix) error { return nil },
		node: func(n *lab.Node, _ string) {
			n.Image, n.Cmd = "ghcr.io/anyvip/lab", daemon
			n.Exec = append(n.Exec, startWeb(n.Name))
		},
	}
	p.tor = router{
		name:   "the kernel",
		config: func([]server) string { return "" },
		node:   func(n *lab.Node, _ string) { n.Image = "debian" },
	}
	s = &site{plan: p, stage: stage{cancel: cancel}}
	if err = s.start(ctx, b.Binaries, s.topology); err != nil {
		s.down(&err)
	}
	return s, err
}
