package api

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	anyvipv1 "github.com/anyvip/anyvip/pkg/api/anyvip/v1"
	"github.com/anyvip/anyvip/pkg/event"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/vip"
)

// Each word of ours is in the protocol, and the protocol has no other.
func TestTheProtocolHasOurWords(t *testing.T) {
	t.Run("phase", sameWords[anyvipv1.Phase_Enum, policy.Phase])
	t.Run("disposition", sameWords[anyvipv1.Disposition_Enum, policy.Disposition])
	t.Run("level", sameWords[anyvipv1.Level_Enum, vip.Level])
	t.Run("reason code", sameWords[anyvipv1.ReasonCode_Enum, policy.Code])
	t.Run("scope", sameWords[anyvipv1.Scope_Enum, vip.Scope])
	t.Run("outcome", sameWords[anyvipv1.Outcome_Enum, vip.Outcome])
	t.Run("class", sameWords[anyvipv1.Class_Enum, vip.Class])
	t.Run("trigger", sameWords[anyvipv1.Trigger_Enum, vip.Trigger])
	t.Run("session state", sameWords[anyvipv1.SessionState_Enum, vip.SessionState])
	t.Run("session cause", sameWords[anyvipv1.SessionCause_Enum, vip.SessionCause])
	t.Run("address state", sameWords[anyvipv1.AddressState_Enum, vip.AddressState])
	// Nothing that is sent has the family, kind or step "none".
	t.Run("drain step", sameWords[anyvipv1.DrainStep_Enum, policy.DrainStep])
	t.Run("family", sameWords[anyvipv1.Family_Enum, vip.Family])
	t.Run("event kind", sameWords[anyvipv1.EventKind_Enum, event.Kind])
	t.Run("router state", sameWords[anyvipv1.RouterState_Enum, vip.RouterState])
	t.Run("router cause", sameWords[anyvipv1.RouterCause_Enum, vip.RouterCause])
	t.Run("router trouble", func(t *testing.T) { // a set of bits
		all := (^vip.RouterTrouble(0)).Each()
		for _, one := range all {
			if enum[anyvipv1.RouterTrouble_Enum](one) == 0 {
				t.Errorf("%s is missing in the protocol", one)
			}
		}
		if n := len(anyvipv1.RouterTrouble_Enum_name); n != len(all)+1 {
			t.Errorf("the protocol has %d words, and we have %d", n-1, len(all))
		}
	})
}

func sameWords[E interface {
	~int32
	protoreflect.Enum
}, V interface {
	~uint8
	fmt.Stringer
}](t *testing.T) {
	found := map[protoreflect.EnumNumber]bool{0: true}
	for v := V(0); ; v++ {
		word, ok := wordOf(v)
		if !ok {
			break
		}
		e := enum[E](v)
		if e == 0 && (v != 0 || word != "none") {
			t.Errorf("%s is missing in the protocol", word)
		}
		found[e.Number()] = true
	}
	var zero E
	values := zero.Descriptor().Values()
	for i := range values.Len() {
		if v := values.Get(i); !found[v.Number()] {
			t.Errorf("the protocol has %s, and we have not", v.Name())
		}
	}
}

// wordOf is the word for v; not ok when v is no value.
func wordOf(v fmt.Stringer) (word string, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	word = v.String()
	return word, word != "invalid"
}
