package policy

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/anyvip/anyvip/pkg/vip"
)

// Require is a tree: a check's or a service's name, or a rule over sub-trees. Its
// zero value is no requirement at all, which Validate refuses: it must be said as
// none.
type Require struct {
	Rule    Rule
	Check   string     // RuleCheck
	Service string     // RuleService: what that service requires
	Scope   *vip.Scope // RuleCheck: instead of the check's own; RuleService: for all of it. nil: nothing else
	AtLeast int        // RuleAtLeast
	Of      []Require  // RuleAll, RuleAny, RuleAtLeast
}

// Rule is what one node of a Require asks for.
type Rule uint8

// The rules.
const (
	RuleMissing Rule = iota // nothing was said
	RuleNone                // announced without any check
	RuleCheck
	RuleService
	RuleAll
	RuleAny
	RuleAtLeast
)

// String is the tree as one would write it in the file.
func (r Require) String() string {
	scope := ""
	if r.Scope != nil {
		scope = ", scope: " + r.Scope.String()
	}
	switch r.Rule {
	case RuleNone:
		return "none"
	case RuleCheck:
		if scope != "" {
			return "{check: " + r.Check + scope + "}"
		}
		return r.Check
	case RuleService:
		return "{service: " + r.Service + scope + "}"
	case RuleAll:
		return "all" + fmt.Sprint(r.Of)
	case RuleAny:
		return "any" + fmt.Sprint(r.Of)
	case RuleAtLeast:
		return strconv.Itoa(r.AtLeast) + " of " + fmt.Sprint(r.Of)
	case RuleMissing:
	}
	return "missing"
}

const requireForms = "none, {all: [CHECK, ...]}, {any: [CHECK, ...]}, {at_least: N, of: [CHECK, ...]}, {check: CHECK, scope: SCOPE}, {service: SERVICE}, nested"

// FromValue reads the tree from a decoded YAML value: strings, int64s, []any and
// map[string]any. Problems carry paths relative to the tree.
func (r *Require) FromValue(v any) []vip.Problem {
	*r = Require{}
	if s, ok := v.(string); ok && s == "none" {
		r.Rule = RuleNone
		return nil
	}
	if _, ok := v.(map[string]any); !ok {
		return []vip.Problem{{Value: fmt.Sprint(v), Message: "is no requirement", Allowed: requireForms}}
	}
	return r.fromNode(v)
}

func (r *Require) fromNode(v any) []vip.Problem {
	switch v := v.(type) {
	case string:
		r.Rule, r.Check = RuleCheck, v
		return nil
	case map[string]any:
		for _, k := range []string{"check", "service"} {
			if _, ok := v[k]; ok {
				return r.fromReference(k, v)
			}
		}
		return r.fromMap(v)
	}
	return []vip.Problem{{Value: fmt.Sprint(v), Message: "is neither a check's name nor a rule", Allowed: requireForms}}
}

// fromReference reads {check: web, scope: dependency} and {service: db}.
func (r *Require) fromReference(kind string, m map[string]any) (ps []vip.Problem) {
	name, ok := m[kind].(string)
	if !ok || name == "" {
		ps = append(ps, vip.Problem{Path: kind, Value: fmt.Sprint(m[kind]), Message: "is no name"})
	}
	if kind == "check" {
		r.Rule, r.Check = RuleCheck, name
	} else {
		r.Rule, r.Service = RuleService, name
	}
	for k, v := range m {
		switch k {
		case kind:
		case "scope":
			r.Scope = new(vip.Scope)
			if err := r.Scope.UnmarshalText([]byte(fmt.Sprint(v))); err != nil {
				ps = append(ps, vip.Problem{Path: k, Message: err.Error()})
			}
		default:
			ps = append(ps, vip.Problem{Path: k, Message: "unknown key", Allowed: kind + ", scope"})
		}
	}
	return ps
}

func (r *Require) fromMap(m map[string]any) (ps []vip.Problem) {
	list := ""
	for k, v := range m {
		switch k {
		case "all", "any", "of":
			if list != "" {
				return []vip.Problem{{Message: "has more than one rule", Allowed: requireForms}}
			}
			list = k
		case "at_least":
			n, ok := v.(int64)
			if !ok {
				ps = append(ps, vip.Problem{Path: k, Value: fmt.Sprint(v), Message: "is not a whole number", Allowed: "1 or more"})
			}
			r.AtLeast = int(n)
		default:
			ps = append(ps, vip.Problem{Path: k, Message: "unknown key", Allowed: requireForms})
		}
	}
	_, counted := m["at_least"]
	switch {
	case list == "of" && counted:
		r.Rule = RuleAtLeast
	case list == "all" && !counted:
		r.Rule = RuleAll
	case list == "any" && !counted:
		r.Rule = RuleAny
	default:
		return append(ps, vip.Problem{Message: "is no requirement", Allowed: requireForms})
	}
	items, ok := m[list].([]any)
	if !ok || len(items) == 0 {
		return append(ps, vip.Problem{Path: list, Message: "is not a list of at least one check", Allowed: requireForms})
	}
	for i, item := range items {
		var c Require
		ps = append(ps, vip.Under(fmt.Sprintf("%s[%d]", list, i), c.fromNode(item))...)
		r.Of = append(r.Of, c)
	}
	if r.Rule == RuleAtLeast && len(ps) == 0 && (r.AtLeast < 1 || r.AtLeast > len(r.Of)) {
		ps = append(ps, vip.Problem{Path: "at_least", Value: strconv.Itoa(r.AtLeast), Message: "can never hold, or always holds",
			Allowed: fmt.Sprintf("1 to %d", len(r.Of))})
	}
	return ps
}

// leaf is one check of a service's tree, and of those that it refers to.
type leaf struct {
	check string
	floor vip.Level // the worst that it can bring the service to
	via   string    // in words, whose requirement it is; empty: the service's own
}

// leaves are the checks that decide about a service, each once, in the order of
// its tree; of several places in it, the one where it may do most counts. Then
// come those of the services that share its fate.
func (d *decider) leaves(s *Service) []leaf {
	var out []leaf
	d.addLeaves(&out, s.Require, vip.LevelFail, "")
	for _, other := range d.companions(s) {
		d.addLeaves(&out, other.Require, vip.LevelFail, "together with service "+other.Name)
	}
	return out
}

func (d *decider) addLeaves(out *[]leaf, r Require, floor vip.Level, via string) {
	switch r.Rule {
	case RuleCheck:
		c := d.in.Checks[r.Check]
		l := leaf{r.Check, max(floor, scopeOf(&r, &c).Floor()), via}
		i := slices.IndexFunc(*out, func(x leaf) bool { return x.check == l.check })
		switch {
		case i < 0:
			*out = append(*out, l)
		case l.floor < (*out)[i].floor:
			(*out)[i] = l
		}
	case RuleService:
		if r.Scope != nil {
			floor = max(floor, r.Scope.Floor())
		}
		if via == "" {
			via = "required by service " + r.Service
		}
		if other, ok := d.visit(r.Service); ok {
			d.addLeaves(out, other.Require, floor, via)
			d.leave(r.Service)
		}
	case RuleAll, RuleAny, RuleAtLeast:
		for _, c := range r.Of {
			d.addLeaves(out, c, floor, via)
		}
	case RuleMissing, RuleNone:
	}
}

// Local are the checks that can withdraw a service in one of the modes by themselves: at
// least one refers to them as local, directly or through services that it refers to.
// scopes are the checks' own, by name, which count where a reference says nothing else.
func Local(services []Service, scopes map[string]vip.Scope, modes ...Mode) map[string]bool {
	d := decider{in: Input{Services: services, Checks: make(map[string]Check, len(scopes))}}
	for name, s := range scopes {
		d.in.Checks[name] = Check{Scope: s}
	}
	local := make(map[string]bool, len(scopes))
	for i := range services {
		if !slices.Contains(modes, services[i].Mode) {
			continue
		}
		for _, l := range d.leaves(&services[i]) {
			if l.floor == vip.LevelFail {
				local[l.check] = true
			}
		}
	}
	return local
}

func scopeOf(r *Require, c *Check) vip.Scope {
	if r.Scope != nil {
		return *r.Scope
	}
	return c.Scope
}

// graph is which services refer to which others, made when first asked for.
type graph struct {
	byName   map[string]int    // places in Input.Services
	groups   map[string][]int  // by Service.Together
	together map[string]*party // by Service.Together: those of mode vrrp
	visiting map[string]bool   // services on the way from the root of a tree to here
}

func (d *decider) graph() *graph {
	if d.refers == nil {
		d.refers = &graph{byName: map[string]int{}, groups: map[string][]int{}, together: map[string]*party{}, visiting: map[string]bool{}}
		for i, s := range d.in.Services {
			d.refers.byName[s.Name] = i
			if s.Together != "" {
				d.refers.groups[s.Together] = append(d.refers.groups[s.Together], i)
			}
		}
		d.refers.parties(d.in.Services)
	}
	return d.refers
}

// visit is a service that a tree refers to; ok is false where there is none, or
// where the reference closes a circle, which the configuration refuses.
func (d *decider) visit(name string) (s *Service, ok bool) {
	g := d.graph()
	i, ok := g.byName[name]
	if !ok || g.visiting[name] {
		return nil, false
	}
	g.visiting[name] = true
	return &d.in.Services[i], true
}

func (d *decider) leave(name string) { delete(d.refers.visiting, name) }

// companions are the other services of s's group.
func (d *decider) companions(s *Service) (out []*Service) {
	if s.Together == "" {
		return nil
	}
	for _, i := range d.graph().groups[s.Together] {
		if other := &d.in.Services[i]; other.Name != s.Name {
			out = append(out, other)
		}
	}
	return out
}
