package secret

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const canary = "canary-7f3a"

func TestNothingPrintsIt(t *testing.T) {
	type holder struct {
		Exported   Text
		unexported Text
	}
	h := holder{New(canary), New(canary)}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o"} {
		fmt.Fprintf(&out, verb+"\n", h)
		fmt.Fprintf(&out, verb+"\n", &h)
		fmt.Fprintf(&out, verb+"\n", h.Exported)
		fmt.Fprintf(&out, verb+"\n", []any{h.Exported, map[Text]Text{h.Exported: h.Exported}})
	}
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		slog.New(handler).Info("issued", "token", h.Exported, "holder", h, "pointer", &h)
	}
	for _, encode := range []func(any) ([]byte, error){json.Marshal, xml.Marshal} {
		b, err := encode(h)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	fmt.Fprint(&out, fmt.Errorf("refresh %v: %w", h.Exported, fmt.Errorf("with %v", h)))
	leaks := []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary)}
	for _, leak := range leaks {
		if strings.Contains(out.String(), leak) {
			t.Errorf("%q is in the output:\n%s", leak, out.String())
		}
	}
}

func TestRoundTrip(t *testing.T) {
	var got Text
	if err := json.Unmarshal([]byte(`"`+canary+`"`), &got); err != nil {
		t.Fatal(err)
	}
	if got.Reveal() != canary || !got.Equal(New(canary)) || got.Empty() {
		t.Errorf("got %q", got.Reveal())
	}
	if (Text{}).String() != "" || !(Text{}).Empty() {
		t.Error("the zero value is not empty")
	}
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // FIPS 180-2, appendix B.1
	if got := New("abc").SHA256(); got != want {
		t.Errorf("SHA256 = %s, want %s", got, want)
	}
}
