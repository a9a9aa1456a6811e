package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/anyvip/anyvip/pkg/balance"
	"github.com/anyvip/anyvip/pkg/policy"
)

const formYAML = "yaml"

// balanceFlags are those of `render balance`.
type balanceFlags struct {
	nodes, vips, require []string
	link, prefix         string
	node, form           string
}

func newRenderBalanceCommand() *cobra.Command {
	var f balanceFlags
	cmd := &cobra.Command{
		Use:   "balance --nodes NAMES [--vips VIPS]",
		Short: "Propose VRIDs and priorities, so that several servers share several VIPs of one segment",
		Long: `Propose VRIDs and priorities, so that several servers share several VIPs of one
segment. VRRP never spreads the load of one address: here every server owns some of
the addresses. The VIPs are those of --vips, or the services in mode vrrp, and the
fallbacks, of the configuration file.

Owners are even. When a server fails its VIPs go to all others, evenly. When it
returns it takes its own back and no other. One more server takes its share, one more
VIP its place, and little else moves; the order of both lists means nothing.

A VIP's VRID is the last byte of its first address (255 for 0), unless it is written
behind it. So no other VIP ever changes it; two that would share one are refused.

Priorities are 200 for the owner, 190 for the next, and so on: with degraded:
{lower_by: 100} a degraded owner stands below the last healthy server, and the
degraded keep their order.

It prints a table. -o yaml prints the services of every server, as they go into its
file, --node those of one. Where the VIPs come from a file, that is the whole file with
other priorities, ready for that server. Services that are together, each with a vrid,
are placed as one; those that ride on another's virtual router are where that is.`,
		Example: `  anyvip render balance --nodes s1,s2,s3 --vips 10.0.5.100,10.0.5.101,10.0.5.102=51
  anyvip render balance --nodes s1,s2,s3 --vips 10.0.5.100/24+2001:db8:5::100/64 --interface eth1 --require web --node s1
  anyvip render balance --nodes s1,s2,s3 -c anyvip.yaml --node s2 > s2-anyvip.yaml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return renderBalance(cmd, f) },
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.nodes, "nodes", nil, "the servers' `NAMES`, separated by commas")
	flags.StringSliceVar(&f.vips, "vips", nil, vipsUsage)
	flags.StringVar(&f.link, "interface", "eth0", "the `LINK` that the VIPs are on")
	flags.StringSliceVar(&f.require, "require", nil, "the `CHECKS` that every service requires; default: none")
	flags.StringVar(&f.prefix, "prefix", "vip", "the `WORD` that services' names begin with")
	flags.StringVar(&f.node, "node", "", "the `NAME` of the one server whose services are printed, as YAML")
	flags.StringVarP(&f.form, "output", "o", formTable, "table, yaml or json")
	return cmd
}

func renderBalance(cmd *cobra.Command, f balanceFlags) error {
	if f.node != "" && !cmd.Flags().Changed("output") {
		f.form = formYAML
	}
	if err := f.check(cmd); err != nil {
		return err
	}
	p, err := f.proposal(cmd)
	if err != nil {
		return err
	}
	var text string
	switch f.form {
	case formYAML:
		text, err = p.yaml(f.node)
	case formJSON:
		text, err = p.json()
	default:
		text = p.tables(newScreen(cmd.OutOrStdout()))
	}
	if err != nil {
		return err
	}
	for _, w := range p.warnings {
		cmd.PrintErrln("warning: " + w)
	}
	_, err = io.WriteString(cmd.OutOrStdout(), text)
	return err
}

// check finds what is wrong with the flags by themselves.
func (f balanceFlags) check(cmd *cobra.Command) error {
	switch {
	case f.form != formTable && f.form != formYAML && f.form != formJSON:
		return usageError{fmt.Errorf("--output %q is none of table, yaml, json", f.form)}
	case len(f.nodes) == 0:
		return usageError{errors.New("say the servers: --nodes s1,s2")}
	case f.node != "" && f.form != formYAML:
		return usageError{errors.New("--node prints YAML")}
	case f.node != "" && !slices.Contains(f.nodes, f.node):
		return usageError{fmt.Errorf("--node %s is none of --nodes %s", f.node, strings.Join(f.nodes, ","))}
	}
	return eitherVIPsOrFile(cmd, "interface", "require", "prefix")
}

// proposal is a plan with the names that it has on paper.
type proposal struct {
	balance.Plan
	vips     []namedVIP
	require  []string
	from     *document // nil: the VIPs are the command line's
	warnings []string
}

func (f balanceFlags) proposal(cmd *cobra.Command) (*proposal, error) {
	p := &proposal{require: f.require}
	var err error
	if len(f.vips) > 0 {
		err = p.fromFlags(f)
	} else {
		err = p.fromFile(cmd)
	}
	if err != nil {
		return nil, err
	}
	var places, all []balance.VIP
	for _, v := range p.vips {
		all = append(all, v.balanced())
		if v.place == len(places) {
			places = append(places, v.balanced())
		}
	}
	if p.Plan, err = balance.New(f.nodes, places); err != nil {
		return nil, usageError{err}
	}
	if err := clashes(all); err != nil {
		return nil, usageError{err}
	}
	return p, p.validate()
}

// fromFlags takes the VIPs of --vips. Their services are named for their first addresses.
func (p *proposal) fromFlags(f balanceFlags) (err error) {
	p.vips, err = parseVIPs(f.vips)
	for i := range p.vips {
		v := &p.vips[i]
		v.link, v.place = f.link, i
		v.name = f.prefix + "-" + strings.ReplaceAll(v.addresses[0].Addr().String(), ":", "-")
	}
	return err
}

// fromFile takes the services with virtual routers of their own, but for those whose
// addresses have an owner: they are on the host that they are on. Those that are Active
// together have one place.
func (p *proposal) fromFile(cmd *cobra.Command) error {
	d, err := readDocument(cmd)
	if err != nil {
		return err
	}
	p.from = &d
	places, groups := 0, map[string]int{}
	for i := range d.Services {
		s := &d.Services[i]
		v, _ := s.VirtualRouters()
		switch {
		case v == nil || s.Rides():
			continue
		case v.Priority == ownerPriority:
			p.warnings = append(p.warnings, fmt.Sprintf("service %s stays as it is: priority 255 is for the host whose own address it is", s.Name))
			continue
		case !v.Preempt:
			p.warnings = append(p.warnings, fmt.Sprintf("service %s has preempt: false, so that its owner does not take it back", s.Name))
		}
		group := s.Together
		if s.Mode != policy.ModeVRRP { // a fallback's election is its own
			group = ""
		}
		place, there := groups[group]
		if group == "" || !there {
			place = places
			places++
			groups[group] = place
		}
		p.vips = append(p.vips, namedVIP{name: s.Name, addresses: s.Addresses, vrid: v.VRID, link: v.Interface, place: place, service: i})
	}
	if len(p.vips) == 0 {
		return fmt.Errorf("%s has no service in mode vrrp that could be balanced; or say the VIPs: --vips", d.file)
	}
	return nil
}

// ownerPriority is what the owner of an address has.
const ownerPriority = 255

// clashes is an error about all VIPs that would share a VRID.
func clashes(vips []balance.VIP) error {
	const most = 10
	found := balance.Clashes(vips)
	if len(found) == 0 {
		return nil
	}
	var lines []string
	for _, c := range found[:min(most, len(found))] {
		lines = append(lines, fmt.Sprintf("%s and %s would both have VRID %d on %s", c.A.Addresses[0], c.B.Addresses[0], c.A.VRID, c.A.Link))
	}
	if more := len(found) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	advice := fmt.Sprintf("a VRID is the last byte of the address unless you say another one: write =VRID behind one of them, such as %s=%d", found[0].B.Addresses[0], found[0].Free)
	if found[0].Free == 0 {
		advice = fmt.Sprintf("%s has no VRID left; put addresses that may move together into one service: %s+%s", found[0].B.Link, found[0].A.Addresses[0], found[0].B.Addresses[0])
	}
	return errors.New(strings.Join(append(lines, advice), "\n"))
}

// tables are the plan for people.
func (p *proposal) tables(s screen) string {
	heads := append([]string{"VIP", "LINK", "VRID"}, p.Nodes...)
	if p.from != nil {
		heads = append([]string{"SERVICE"}, heads...)
	}
	t := newTable(heads...)
	for _, v := range p.vips {
		row := []cell{{addressList(v), plain}, {v.link, plain}, {fmt.Sprint(v.balanced().VRID), plain}}
		if p.from != nil {
			row = append([]cell{{v.name, plain}}, row...)
		}
		for n := range p.Nodes {
			c := cell{fmt.Sprint(p.Priority(v.place, n)), plain}
			if p.Orders[v.place][0] == n {
				c.tint = good
			}
			row = append(row, c)
		}
		t.add(row...)
	}
	nodes := newTable("NODE", "OWNS", "IF IT FAILS")
	for n, owned := range p.Owned() {
		nodes.add(cell{p.Nodes[n], plain}, cell{fmt.Sprint(owned), plain}, cell{p.shifted(n), plain})
	}
	return t.render(s) + "\n" + nodes.render(s) + fmt.Sprintf("\ndegraded: {lower_by: %d} goes with these priorities. --node NAME prints what goes into a server's file.\n", balance.LowerBy)
}

func addressList(v namedVIP) string {
	var list []string
	for _, h := range v.addresses {
		list = append(list, h.Addr().String())
	}
	return strings.Join(list, " ")
}

// shifted says in words who has how many VIPs more when a node fails.
func (p *proposal) shifted(failed int) string {
	var list []string
	for n, more := range p.Inherited(failed) {
		if more > 0 {
			list = append(list, fmt.Sprintf("%s +%d", p.Nodes[n], more))
		}
	}
	if len(list) == 0 && p.Owned()[failed] > 0 {
		return "nobody has them"
	}
	return strings.Join(list, ", ")
}

// plannedVIP is a VIP in JSON.
type plannedVIP struct {
	Service    string           `json:"service"`
	Addresses  []string         `json:"addresses"`
	Interface  string           `json:"interface"`
	VRID       uint8            `json:"vrid"`
	Order      []string         `json:"order"` // owner first
	Priorities map[string]uint8 `json:"priorities"`
}

// plannedNode is a node in JSON.
type plannedNode struct {
	Name  string         `json:"name"`
	Owns  int            `json:"owns"`
	Fails map[string]int `json:"if_it_fails"` // how many VIPs more each other has
}

func (p *proposal) json() (string, error) {
	var out struct {
		Nodes   []plannedNode `json:"nodes"`
		LowerBy int           `json:"lower_by"`
		VIPs    []plannedVIP  `json:"vips"`
	}
	out.LowerBy = balance.LowerBy
	for n, owned := range p.Owned() {
		node := plannedNode{Name: p.Nodes[n], Owns: owned, Fails: map[string]int{}}
		for other, more := range p.Inherited(n) {
			if other != n {
				node.Fails[p.Nodes[other]] = more
			}
		}
		out.Nodes = append(out.Nodes, node)
	}
	for _, v := range p.vips {
		vip := plannedVIP{Service: v.name, Interface: v.link, VRID: v.balanced().VRID, Priorities: map[string]uint8{}}
		for _, h := range v.addresses {
			vip.Addresses = append(vip.Addresses, h.Addr().String())
		}
		for _, n := range p.Orders[v.place] {
			vip.Order = append(vip.Order, p.Nodes[n])
			vip.Priorities[p.Nodes[n]] = p.Priority(v.place, n)
		}
		out.VIPs = append(out.VIPs, vip)
	}
	text, err := json.MarshalIndent(out, "", "  ")
	return string(text) + "\n", err
}
