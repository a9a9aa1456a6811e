package main

import (
	"flag"
	"fmt"
	"os"
	"text/tabwriter"
)

// command is a subcommand; its run gets the arguments after its name.
type command struct {
	name, args, what string
	run              func(args []string) error
}

// commands are the subcommands, in the order of the help.
var commands = []command{
	{"up", upArgs, "start the lab of a topology file; Ctrl-C ends it", up},
	{"exec", execArgs, "run a command in a node of a running lab", execute},
	{"down", downArgs, "end a running lab", down},
	{"demo", demoArgs, "tell the story of ECMP while it happens, with measured figures", demo},
	{"router", routerArgs, "be a small ToR: GoBGP, and multipath routes in the kernel", router},
	{"watch", watchArgs, "print BGP messages and route changes, with times", watch},
	{"load", loadArgs, "ask a web service over new connections, and count", load},
	{"web", webArgs, "be a web server that answers with its name", web},
	{"bench", benchArgs, "measure anyvip beside BIRD, ExaBGP, gobgpd and keepalived", bench},
	{"host", hostArgs, "be a host that waits; first run lines like `ip route add ...`", host},
}

// newFlags returns the flags of a subcommand; args is its line of help.
func newFlags(name, args string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprintf(os.Stderr, "usage: anyvip-lab %s %s\n", name, args)
		flags.PrintDefaults()
	}
	return flags
}

func usage() {
	w := tabwriter.NewWriter(os.Stderr, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "usage: anyvip-lab COMMAND")
	for _, c := range commands {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", c.name, c.args, c.what)
	}
	_ = w.Flush() // to stderr: there is nobody left to tell
}
