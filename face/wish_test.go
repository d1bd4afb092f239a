package face

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"
)

// TestEveryWishCrossesThePair: a kind that is not in wishes would be sent and never understood.
func TestEveryWishCrossesThePair(t *testing.T) {
	source, err := os.ReadFile("wish.go")
	if err != nil {
		t.Fatal(err)
	}
	var written, known []string
	for _, m := range regexp.MustCompile(`(?m)^func \((\w+)\) kind\(\)`).FindAllSubmatch(source, -1) {
		written = append(written, "face."+string(m[1]))
	}
	kinds := map[string]bool{}
	for _, w := range wishes {
		known = append(known, fmt.Sprintf("%T", w))
		kinds[w.kind()] = true
	}
	if !slices.Equal(written, known) || len(kinds) != len(wishes) {
		t.Errorf("written %v, known %v, under %d names", written, known, len(kinds))
	}
}
