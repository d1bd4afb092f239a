package assets

import (
	"bytes"
	"encoding/binary"
	"html/template"
	"image"
	"image/png"
	"os"
	"testing"
)

func decode(t *testing.T, name string, b []byte, width int) image.Image {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if got := img.Bounds().Size(); got != image.Pt(width, width) {
		t.Errorf("%s is %v, want %d wide and high", name, got, width)
	}
	return img
}

func TestIcons(t *testing.T) {
	decode(t, "Icon", Icon(), 512)
	for _, name := range []string{"tray", "tray-attention", "tray-problem"} {
		b, err := os.ReadFile(name + ".png")
		if err != nil {
			t.Fatal(err)
		}
		img := decode(t, name, b, 64)
		if _, _, _, a := img.At(0, 0).RGBA(); a != 0 {
			t.Errorf("%s: the corner is not transparent", name)
		}
		if _, _, _, a := img.At(32, 4).RGBA(); a != 0xffff {
			t.Errorf("%s: the badge is not opaque", name)
		}
	}
	if bytes.Equal(TrayIcon(), TrayAttention()) || bytes.Equal(TrayAttention(), TrayProblem()) || len(TrayProblem()) == 0 {
		t.Error("the tray's states look the same")
	}
}

func TestWindowsIcons(t *testing.T) {
	for name, sizes := range map[string][]int{
		"icon.ico":           {16, 24, 32, 48, 64, 256},
		"tray.ico":           {16, 20, 24, 32, 48, 64},
		"tray-attention.ico": {16, 20, 24, 32, 48, 64},
		"tray-problem.ico":   {16, 20, 24, 32, 48, 64},
	} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		le := binary.LittleEndian
		if le.Uint16(b) != 0 || le.Uint16(b[2:]) != 1 || int(le.Uint16(b[4:])) != len(sizes) {
			t.Fatalf("%s: not an icon of %d pictures: % x", name, len(sizes), b[:6])
		}
		end := 0
		for i, size := range sizes {
			entry := b[6+16*i:]
			if int(entry[0]) != size%256 || int(entry[1]) != size%256 {
				t.Errorf("%s: picture %d says %d × %d, want %d", name, i, entry[0], entry[1], size)
			}
			length, offset := int(le.Uint32(entry[8:])), int(le.Uint32(entry[12:]))
			decode(t, name, b[offset:offset+length], size)
			end = offset + length
		}
		if end != len(b) {
			t.Errorf("%s: %d bytes behind the last picture", name, len(b)-end)
		}
	}
}

func TestCallbackPageParses(t *testing.T) {
	page, err := template.New("callback").Parse(CallbackPage)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = page.Execute(&out, map[string]string{"Tone": "good", "Title": "<T>", "Nonce": "n0nce", "ServerHost": "mcp.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"&lt;T&gt;", `nonce="n0nce"`, "mcp.example.com"} {
		if !bytes.Contains(out.Bytes(), []byte(want)) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, never := range []string{"<script", "http://", "https://", " style=", "onclick"} {
		if bytes.Contains(bytes.ReplaceAll(out.Bytes(), []byte("xmlns='http://www.w3.org/2000/svg'"), nil), []byte(never)) {
			t.Errorf("the page holds %q", never)
		}
	}
}

// TestFyneApp: FyneApp.toml is read by Fyne's tools alone, and tells them what the program says of itself.
func TestFyneApp(t *testing.T) {
	content, err := os.ReadFile("../FyneApp.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Name = \"" + Name + "\"\n", "ID = \"" + ID + "\"\n", "Version = \"" + Version + "\"\n"} {
		if !bytes.Contains(content, []byte(want)) {
			t.Errorf("FyneApp.toml lacks %q", want)
		}
	}
}
