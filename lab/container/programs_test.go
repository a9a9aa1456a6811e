package container

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/anyvip/anyvip/lab"
)

// ourPrograms are all that our images hold: no shell, no sleep.
var ourPrograms = []string{"anyvip", "anyvip-lab", "ip"}

func TestNodesOfOurImagesCallOnlyWhatTheseHold(t *testing.T) {
	files, err := filepath.Glob("../*.clab.yml")
	if err != nil {
		t.Fatal(err)
	}
	examples, err := filepath.Glob("../../examples/*/*.clab.yml")
	if err != nil {
		t.Fatal(err)
	}
	nodes := 0
	for _, file := range append(files, examples...) {
		topo, err := lab.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range topo.Nodes {
			if !strings.HasPrefix(n.Image, "ghcr.io/anyvip/") {
				continue
			}
			nodes++
			lines := n.Exec
			if len(n.Cmd) > 0 {
				lines = append(lines, n.Cmd)
			}
			for _, line := range lines {
				if !slices.Contains(ourPrograms, line[0]) {
					t.Errorf("%s: node %s calls %q; the image %s holds only %v", file, n.Name, line, n.Image, ourPrograms)
				}
			}
		}
	}
	if nodes == 0 {
		t.Error("no file has a node with an image of ours")
	}
}
