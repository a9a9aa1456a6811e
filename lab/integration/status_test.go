package integration

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// agentStatus is what `anyvip status -o json` prints, as far as tests look at it.
type agentStatus struct {
	Node     string
	Phase    string
	Started  time.Time
	Services []struct {
		Name, Disposition, Level string
		Reasons                  []reason
		Addresses                []struct {
			Prefix  string
			Wanted  bool
			SentTo  []string `json:"sent_to"`
			Reasons []reason
		}
		Drain *drainStatus
	}
	Routers   []virtualRouter
	Drains    []drainIntent
	Sessions  []session
	Addresses []struct {
		Address, State, Link string
		Ours                 bool
		Lost                 []time.Time
	}
	Events []struct {
		At                           time.Time
		Kind, Name, From, To, Reason string
	}
	Reload *struct {
		At    time.Time
		Error string
	}
}

type virtualRouter struct {
	Name, State, Cause, By string
	Since                  time.Time
	Priority               int
	Answers                bool
	Others                 []struct {
		Address, MAC string
		Trouble      []string
	}
}

// router is the virtual router of that name; nothing if there is none.
func (s agentStatus) router(name string) (r virtualRouter) {
	for _, r := range s.Routers {
		if r.Name == name {
			return r
		}
	}
	return r
}

type reason struct{ Code, Subject, Detail string }

type drainIntent struct {
	Service, Reason, Actor string
	Node                   bool
	Since, Until           time.Time
}

type drainStatus struct {
	Step            string
	Since           time.Time
	Intent          drainIntent
	WithdrawnBy     *time.Time `json:"withdrawn_by"`
	Routed          bool
	Open, Receiving *uint32
}

type session struct {
	Peer, Address, State, Cause, Detail string
	Since                               time.Time
	Flaps                               uint64 `json:",string"`
}

// status asks the agent of a node.
func (r *rig) status(node string) (agentStatus, error) {
	out, err := r.Command(r.t.Context(), node, "anyvip", "status", "-o", "json").Output()
	if err != nil {
		return agentStatus{}, err
	}
	var s agentStatus
	if err := json.Unmarshal(out, &s); err != nil {
		return agentStatus{}, fmt.Errorf("%w in %s", err, out)
	}
	return s, nil
}

// watchStatus follows the agent of a node from now on.
func (r *rig) watchStatus(node string) *instrument[agentStatus] {
	r.t.Helper()
	f := follow(r, decodeLines[agentStatus], node, "anyvip", "status", "--watch", "-o", "json")
	f.wait(patience, "a status", func(agentStatus) bool { return true })
	return f
}

// mustStatus is status of an agent that has to answer.
func (r *rig) mustStatus(node string) agentStatus {
	r.t.Helper()
	s, err := r.status(node)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// statusShows polls until the agent's status is as ok wants it. what names it for
// the failure.
func (r *rig) statusShows(node, what string, ok func(agentStatus) bool) agentStatus {
	r.t.Helper()
	var s agentStatus
	eventually(r.t, patience, func() (err error) {
		if s, err = r.status(node); err == nil && !ok(s) {
			err = fmt.Errorf("the status of %s does not show %s: %s", node, what, asJSON(s))
		}
		return err
	})
	return s
}

// session returns the session with a peer.
func (s agentStatus) session(t *testing.T, peer string) session {
	t.Helper()
	for _, x := range s.Sessions {
		if x.Peer == peer {
			return x
		}
	}
	t.Fatalf("the status has no session with %s: %s", peer, asJSON(s))
	return session{}
}

// established says whether every session is.
func (s agentStatus) established() bool {
	for _, x := range s.Sessions {
		if x.State != "ESTABLISHED" {
			return false
		}
	}
	return len(s.Sessions) > 0
}

// codes are the codes of all reasons of a service and its addresses.
func (s agentStatus) codes() map[string]bool {
	codes := map[string]bool{}
	for _, service := range s.Services {
		for _, r := range service.Reasons {
			codes[r.Code] = true
		}
		for _, a := range service.Addresses {
			for _, r := range a.Reasons {
				codes[r.Code] = true
			}
		}
	}
	return codes
}
