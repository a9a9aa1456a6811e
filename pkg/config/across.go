package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/vip"
)

// across finds what only the whole document shows.
func (d *decoder) across(c *Config) {
	if c.Version != 1 {
		d.blame("version", fmt.Sprint(c.Version), "is a version that this program does not know", "1")
	}
	d.names(c)
	d.requirements(c)
	d.prefixes(c)
	d.doubles(c)
	d.ends(c)
	d.virtualRouters(c)
	d.sync(c)
	if c.DrainFile != "" && !filepath.IsAbs(c.DrainFile) {
		d.blame("drain_file", c.DrainFile, "is not an absolute path", "")
	}
	switch {
	case len(c.Services) == 0 && d.sound("services"):
		d.warn("services", "", "is empty: nothing will be announced")
	case slices.ContainsFunc(c.Services, func(s policy.Service) bool { return s.Mode == policy.ModeECMP }) && !d.given("bgp"):
		d.blame("bgp", "", "is missing; services in mode ecmp are announced over BGP", "")
	}
}

// Names become metric labels, and are typed on command lines.
var (
	nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	nodeForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$`) // a host name, in either case
)

const nameAllowed = "1 to 63 of a-z, 0-9, - _ . with a letter or digit first"

// names checks the form of every name, and that each is used once per list.
func (d *decoder) names(c *Config) {
	if c.Node != "" && !nodeForm.MatchString(c.Node) {
		d.blame("node", c.Node, "is no name", "up to 253 of A-Z, a-z, 0-9, - _ . with a letter or digit first")
	}
	var peers, checks, services []string
	for _, p := range c.BGP.Peers {
		peers = append(peers, p.Name)
	}
	for _, k := range c.Checks {
		checks = append(checks, k.Name)
	}
	for _, s := range c.Services {
		services = append(services, s.Name)
	}
	d.unique("bgp.peers", peers)
	d.unique("checks", checks)
	d.unique("services", services)
	d.hooks(c, services)
	if i := slices.Index(checks, "none"); i >= 0 {
		d.blame(at("checks", i)+".name", "none", "is a word of require, and cannot name a check", "")
	}
}

// hooks checks their names, and that the services exist that they name.
func (d *decoder) hooks(c *Config, services []string) {
	var names []string
	for i, h := range c.Hooks {
		names = append(names, h.Name)
		for j, s := range h.Services {
			d.mustExist(at(at("hooks", i)+".services", j), s, "service", services, d.sound("services") && !d.excused["services"])
		}
	}
	d.unique("hooks", names)
}

func (d *decoder) unique(list string, names []string) {
	first := map[string]int{}
	for i, name := range names {
		path := at(list, i) + ".name"
		if name == "" {
			continue // the part said so
		}
		if !nameForm.MatchString(name) {
			d.blame(path, name, "is no name", nameAllowed)
		}
		if j, ok := first[name]; ok {
			d.blame(path, name, fmt.Sprintf("is the name of %s in line %d too", at(list, j), d.place(at(list, j)+".name").line), "another name")
			continue
		}
		first[name] = i
	}
}

// requirements looks for checks and services that are required and do not exist,
// for services that require each other in a circle, and for checks that nobody
// requires.
func (d *decoder) requirements(c *Config) {
	var names, services []string
	required := map[string]bool{}
	sureChecks, sureServices := d.sound("checks") && !d.excused["checks"], d.sound("services") && !d.excused["services"]
	for i, k := range c.Checks { // a name that we could not read may be the one
		sureChecks = sureChecks && k.Name != "" && d.sound(at("checks", i)+".name")
		names = append(names, k.Name)
	}
	for i, s := range c.Services {
		sureServices = sureServices && s.Name != "" && d.sound(at("services", i)+".name")
		services = append(services, s.Name)
	}
	for i, s := range c.Services {
		eachReference(s.Require, at("services", i)+".require", func(path string, r policy.Require) {
			if r.Rule == policy.RuleCheck {
				required[r.Check] = true
				d.mustExist(path, r.Check, "check", names, sureChecks)
				return
			}
			d.mustExist(path, r.Service, "service", services, sureServices)
			if way := circle(c.Services, s.Name, r.Service); way != "" {
				d.blame(path, r.Service, "requires "+s.Name+" in turn: "+way, "services that do not lead back here")
			}
		})
	}
	for i, name := range names {
		if name != "" && !required[name] {
			d.warn(at("checks", i)+".name", name, "is required by no service: it is probed and shown, but decides nothing")
		}
	}
	d.groups(c)
}

func (d *decoder) mustExist(path, name, what string, names []string, sure bool) {
	if !sure || slices.Contains(names, name) {
		return
	}
	message := "is no " + what + " of this file"
	if meant := Nearest(name, names); meant != "" {
		message += "; did you mean " + meant + "?"
	}
	d.blame(path, name, message, "")
}

// circle is the way from a service that start requires back to start, in words;
// empty where there is none.
func circle(services []policy.Service, start, from string) string {
	seen := map[string]bool{}
	var walk func(name string) string
	walk = func(name string) string {
		if name == start {
			return name
		}
		i := slices.IndexFunc(services, func(s policy.Service) bool { return s.Name == name })
		if i < 0 || seen[name] {
			return ""
		}
		seen[name] = true
		way := ""
		eachReference(services[i].Require, "", func(_ string, r policy.Require) {
			if r.Rule == policy.RuleService && way == "" {
				if rest := walk(r.Service); rest != "" {
					way = name + " requires " + rest
				}
			}
		})
		return way
	}
	if way := walk(from); way != "" {
		return start + " requires " + way
	}
	return ""
}

// groups looks for names of groups that are none, or of one service alone: mistyped.
func (d *decoder) groups(c *Config) {
	members := map[string]int{}
	for _, s := range c.Services {
		members[s.Together]++
	}
	for i, s := range c.Services {
		if s.Together != "" && !nameForm.MatchString(s.Together) {
			d.blame(at("services", i)+".together", s.Together, "is no name", nameAllowed)
			continue
		}
		if s.Rides() && s.Together != "" {
			d.rider(c, i)
		}
		if s.Together != "" && members[s.Together] == 1 && !s.Rides() {
			d.warn(at("services", i)+".together", s.Together, "is named by no other service, so it changes nothing")
		}
	}
}

// rider looks at a service without a virtual router of its own: one service that it is
// together with has one, and says all that there is to say.
func (d *decoder) rider(c *Config, i int) {
	var leaders []string
	for _, o := range c.Services {
		if o.Together == c.Services[i].Together && o.Mode == policy.ModeVRRP && !o.Rides() {
			leaders = append(leaders, o.Name)
		}
	}
	path := at("services", i) + ".vrrp"
	switch {
	case len(leaders) == 0 && d.sound("services"):
		d.blame(path+".vrid", "", "is missing, and no service that it is together with has one to ride on", "1 to 255 for one of them")
	case len(leaders) > 1:
		d.blame(path+".vrid", "", fmt.Sprintf("is missing, and %v have one each: nobody can say on which of them its addresses ride", leaders), "a vrid for one of the group, or for all of it")
	}
	for _, key := range []string{"version", "priority", "advertisement_interval", "preempt", "preempt_delay", "degraded", "source", "unicast_peers", "password_file", "checksum",
		"unadvertised", "announce_refresh", "defend"} {
		if d.given(path + "." + key) {
			d.blame(path+"."+key, "", "is its leader's to say: without a vrid its addresses ride on that virtual router", "interface alone")
		}
	}
}

// sync looks for groups of virtual routers that could never be Active together: the
// same server must be the best in each.
func (d *decoder) sync(c *Config) {
	first := map[string]int{}
	for i, s := range c.Services {
		if s.Mode != policy.ModeVRRP || s.Together == "" || s.Rides() {
			continue
		}
		j, there := first[s.Together]
		if !there {
			first[s.Together] = i
			continue
		}
		v, w := s.VRRP, c.Services[j].VRRP
		path, other := at("services", i)+".vrrp", at("services", j)
		switch {
		case v.Priority == 255 || w.Priority == 255:
			d.blame(path+".priority", fmt.Sprint(v.Priority), "is together with "+other+", and an owner is always Active, whatever becomes of the others", "1 to 254 for both")
		case v.Priority != w.Priority:
			d.blame(path+".priority", fmt.Sprint(v.Priority), fmt.Sprintf("is not that of %s in line %d, and both are Active together or not at all: the same server must come first in each", other, d.place(other+".vrrp").line), fmt.Sprint(w.Priority))
		case v.Interval != w.Interval || v.Version != w.Version:
			d.blame(path, "", fmt.Sprintf("differs in advertisement_interval or version from %s in line %d, and both are Active together or not at all: another server would take over one long before the other", other, d.place(other+".vrrp").line), "the same in both")
		case v.Preempt != w.Preempt || v.PreemptDelay != w.PreemptDelay || v.Degraded != w.Degraded:
			d.blame(path, "", fmt.Sprintf("differs in preempt, preempt_delay or degraded from %s in line %d, and both are Active together or not at all", other, d.place(other+".vrrp").line), "the same in both")
		}
	}
}

// eachReference calls yield with the path and the node of each check and service
// that a tree names.
func eachReference(r policy.Require, path string, yield func(path string, r policy.Require)) {
	list := ""
	switch r.Rule {
	case policy.RuleCheck:
		if r.Scope != nil {
			path += ".check"
		}
		yield(path, r)
	case policy.RuleService:
		yield(path+".service", r)
	case policy.RuleAll:
		list = "all"
	case policy.RuleAny:
		list = "any"
	case policy.RuleAtLeast:
		list = "of"
	case policy.RuleMissing, policy.RuleNone:
	}
	for i, inner := range r.Of {
		eachReference(inner, at(path+"."+list, i), yield)
	}
}

// prefixes checks that every VIP may leave. What may leave at all is bgp's own.
func (d *decoder) prefixes(c *Config) {
	sure := d.given("bgp") && d.sound("bgp.allowed_prefixes") && len(c.BGP.AllowedPrefixes) > 0
	for i := range c.BGP.AllowedPrefixes {
		sure = sure && d.sound(at("bgp.allowed_prefixes", i))
	}
	for i, s := range c.Services {
		for j, h := range s.Addresses {
			path := at(at("services", i)+".addresses", j)
			covers := func(p netip.Prefix) bool { return p.Contains(h.Addr()) }
			if sure && s.Mode == policy.ModeECMP && h.IsValid() && !slices.ContainsFunc(c.BGP.AllowedPrefixes, covers) {
				d.blame(path, h.Addr().String(), "is outside bgp.allowed_prefixes", fmt.Sprint(c.BGP.AllowedPrefixes))
			}
		}
	}
}

// doubles finds a VIP that is written twice.
func (d *decoder) doubles(c *Config) {
	first := map[netip.Prefix]string{}
	for i, s := range c.Services {
		for j, h := range s.Addresses {
			path := at(at("services", i)+".addresses", j)
			if !h.IsValid() {
				continue
			}
			if there, ok := first[h.Prefix]; ok {
				d.blame(path, h.Addr().String(), fmt.Sprintf("is also %s in line %d; a VIP belongs to one service, once", there, d.place(there).line), "")
				continue
			}
			first[h.Prefix] = path
		}
	}
}

// virtualRouters finds two virtual routers that others could not tell apart: the same
// VRID on one link in one family.
func (d *decoder) virtualRouters(c *Config) {
	type router struct {
		link   string
		vrid   uint8
		family vip.Family
	}
	type entry struct {
		service int
		key     string
	}
	first := map[router]entry{}
	for i, s := range c.Services {
		v, key := s.VirtualRouters()
		if v == nil || v.VRID == 0 || v.Interface == "" {
			continue
		}
		for _, f := range []vip.Family{vip.IPv4, vip.IPv6} {
			r := router{v.Interface, v.VRID, f}
			if !slices.ContainsFunc(s.Addresses, func(h policy.HostPrefix) bool { return vip.FamilyOf(h.Addr()) == f }) {
				continue
			}
			if j, taken := first[r]; taken {
				d.blame(at("services", i)+"."+key+".vrid", fmt.Sprint(r.vrid), fmt.Sprintf("is also that of %s in line %d, on the same link: the routers there take both for one", at("services", j.service), d.place(at("services", j.service)+"."+j.key+".vrid").line), "another one for each service, the same on all its servers")
				break
			}
			first[r] = entry{i, key}
		}
	}
}

// ends finds a VIP that is an end of a session: on lo it would cut this host off
// from that peer.
func (d *decoder) ends(c *Config) {
	taken := map[netip.Addr]string{}
	for i, p := range c.BGP.Peers {
		taken[p.Address] = at("bgp.peers", i) + ".address" // zero, if unnumbered: no VIP is that
		taken[p.LocalAddress] = at("bgp.peers", i) + ".local_address"
	}
	for i, s := range c.Services {
		for j, h := range s.Addresses {
			if end, ok := taken[h.Addr()]; ok && h.IsValid() {
				d.blame(at(at("services", i)+".addresses", j), h.Addr().String(), "is also "+end+", an end of a session", "an address that is for the service alone")
			}
		}
	}
}
