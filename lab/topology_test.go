package lab

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLoadMergesEveryForm(t *testing.T) {
	topo, err := Load("testdata/good/everything.clab.yml")
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	everything, s1 := filepath.Join(here, "everything.txt"), filepath.Join(here, "s1.txt")
	echo := [][]string{{"echo", "default"}, {"sh", "-c", `echo "two words"`}, {"echo", "one", "two"}}
	env := map[string]string{"A": "default", "B": "kind", "C": "node", "D": ""}
	forward := map[string]string{"net.ipv4.ip_forward": "1"}
	want := &Topology{
		File: "testdata/good/everything.clab.yml",
		Name: "everything",
		Nodes: []Node{
			{
				Name: "s1", Kind: "linux", Image: "quay.io/frrouting/frr:10.2.1", Hostname: "s1",
				Binds: []Bind{{Source: everything, Target: "/etc/a", ReadOnly: true}, {Source: home, Target: "/mnt/home"}, {Source: s1, Target: "/etc/b"}},
				Exec:  echo, Env: env, Sysctls: forward, StartupDelay: 1,
			},
			{
				Name: "s2", Kind: "linux", Image: "quay.io/frrouting/frr:10.2.1", Hostname: "other",
				Binds: []Bind{{Source: everything, Target: "/etc/a"}},
				Exec:  echo, Env: env, Sysctls: forward, StartupDelay: 1,
			},
			{
				Name: "s3", Kind: "linux", Image: "debian:12", Hostname: "s3",
				Binds: []Bind{{Source: everything, Target: "/etc/a"}},
				Exec:  echo[:1], Env: map[string]string{"A": "default", "B": "kind", "C": "kind"}, Sysctls: forward,
			},
		},
		Links: []Link{
			{A: Endpoint{Node: "s1", Interface: "eth1"}, B: Endpoint{Node: "s2", Interface: "eth1"}, MTU: 9000},
			{A: Endpoint{Node: "s1", Interface: "eth2", MAC: "02:00:00:00:00:01"}, B: Endpoint{Node: "s3", Interface: "eth1"}},
		},
	}
	if diff := cmp.Diff(want, topo); diff != "" {
		t.Errorf("topology (-want +got):\n%s", diff)
	}
}

func TestLoadTheDemo(t *testing.T) {
	topo, err := Load("ecmp.clab.yml")
	if err != nil {
		t.Fatal(err)
	}
	if len(topo.Nodes) != 5 || len(topo.Links) != 4 {
		t.Errorf("%d nodes and %d links, want 5 and 4", len(topo.Nodes), len(topo.Links))
	}
	data, err := os.ReadFile("ecmp.clab.yml")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "$") {
		t.Error("containerlab would substitute what follows a dollar sign")
	}
}

// Each bad file says what is wrong with it, in lines "# want: " that are the
// beginnings of the reported lines without the file's name.
func TestLoadReportsEveryProblem(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.clab.yml")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(data)) {
				if text, ok := strings.CutPrefix(line, "# want: "); ok {
					want = append(want, strings.TrimSpace(text))
				}
			}
			_, err = Load(file)
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("error %v is of type %T, want Problems", err, err)
			}
			for i, p := range problems {
				got := strings.TrimSpace(strings.TrimPrefix(p.String(), file+":"))
				if i >= len(want) {
					t.Errorf("not wanted: %s", got)
				} else if !strings.HasPrefix(got, want[i]) {
					t.Errorf("got  %s\nwant %s", got, want[i])
				}
			}
			for _, w := range want[min(len(problems), len(want)):] {
				t.Errorf("missing: %s", w)
			}
		})
	}
}

func TestLoadOfAMissingFile(t *testing.T) {
	if _, err := Load("testdata/nosuch.clab.yml"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}
