// Gen draws the icons of package assets: go generate ./assets.
//
// Every shape is a signed distance, so that each size is drawn for itself, sharp, instead of scaled.
package main

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/png"
	"log"
	"math"
	"os"
)

// A shape tells how far a point lies outside of it; negative inside. Units: the icon is 1 wide.
type shape func(x, y float64) float64

func circle(cx, cy, r float64) shape {
	return func(x, y float64) float64 { return math.Hypot(x-cx, y-cy) - r }
}

func box(x0, y0, x1, y1, r float64) shape {
	cx, cy, hw, hh := (x0+x1)/2, (y0+y1)/2, (x1-x0)/2-r, (y1-y0)/2-r
	return func(x, y float64) float64 {
		dx, dy := math.Abs(x-cx)-hw, math.Abs(y-cy)-hh
		return math.Hypot(math.Max(dx, 0), math.Max(dy, 0)) + math.Min(math.Max(dx, dy), 0) - r
	}
}

func union(shapes ...shape) shape {
	return func(x, y float64) float64 {
		d := math.Inf(1)
		for _, s := range shapes {
			d = math.Min(d, s(x, y))
		}
		return d
	}
}

func minus(a, b shape) shape {
	return func(x, y float64) float64 { return math.Max(a(x, y), -b(x, y)) }
}

func grow(s shape, by float64) shape {
	return func(x, y float64) float64 { return s(x, y) - by }
}

// turned is s turned clockwise about the middle.
func turned(s shape, degrees float64) shape {
	sin, cos := math.Sincos(-degrees * math.Pi / 180)
	return func(x, y float64) float64 {
		x, y = x-0.5, y-0.5
		return s(x*cos-y*sin+0.5, x*sin+y*cos+0.5)
	}
}

// key is the mark: bow, shaft and two teeth, the bow at the upper right. heavy thickens it for small sizes.
func key(heavy float64) shape {
	half := 0.051 + heavy
	bow := minus(circle(0.5, 0.29, 0.152+half), circle(0.5, 0.29, 0.152-half))
	shaft := box(0.5-half, 0.44, 0.5+half, 0.85+half/2, half*0.6)
	upper := box(0.5, 0.695-half, 0.645+heavy, 0.695+half, half*0.6)
	lower := box(0.5, 0.85-half*1.5, 0.615+heavy, 0.85+half/2, half*0.6)
	return turned(union(bow, shaft, upper, lower), 45)
}

type layer struct {
	shape shape
	paint func(x, y float64) color.NRGBA
	clear bool // takes away instead of painting
}

func flat(c color.NRGBA) func(x, y float64) color.NRGBA {
	return func(float64, float64) color.NRGBA { return c }
}

func slope(from, to color.NRGBA) func(x, y float64) color.NRGBA {
	return func(x, y float64) color.NRGBA {
		t := math.Min(math.Max((x+y)/2, 0), 1)
		mix := func(a, b uint8) uint8 { return uint8(math.Round(float64(a) + (float64(b)-float64(a))*t)) }
		return color.NRGBA{mix(from.R, to.R), mix(from.G, to.G), mix(from.B, to.B), 255}
	}
}

// draw paints the layers over each other, each pixel from 8 × 8 points.
func draw(size int, layers []layer) *image.NRGBA {
	const n = 8
	img := image.NewNRGBA(image.Rect(0, 0, size, size))
	for py := range size {
		for px := range size {
			var r, g, b, a float64 // premultiplied sums
			for i := range n * n {
				x := (float64(px) + (float64(i%n)+0.5)/n) / float64(size)
				y := (float64(py) + (float64(i/n)+0.5)/n) / float64(size)
				var c color.NRGBA
				for _, l := range layers {
					switch {
					case l.shape(x, y) > 0:
					case l.clear:
						c = color.NRGBA{}
					default:
						c = l.paint(x, y)
					}
				}
				if c.A != 0 {
					r, g, b, a = r+float64(c.R), g+float64(c.G), b+float64(c.B), a+1
				}
			}
			if a > 0 {
				img.SetNRGBA(px, py, color.NRGBA{uint8(math.Round(r / a)), uint8(math.Round(g / a)), uint8(math.Round(b / a)), uint8(math.Round(a / (n * n) * 255))})
			}
		}
	}
	return img
}

var (
	violet = color.NRGBA{0x7b, 0x6c, 0xff, 255}
	indigo = color.NRGBA{0x40, 0x3a, 0xd1, 255}
	white  = color.NRGBA{255, 255, 255, 255}
	amber  = color.NRGBA{0xff, 0xb0, 0x20, 255}
	red    = color.NRGBA{0xe5, 0x35, 0x45, 255}
	slate  = color.NRGBA{0x6f, 0x75, 0x8c, 255}
	dusk   = color.NRGBA{0x52, 0x57, 0x6c, 255}
)

// mark is the badge with the key; margin is what stays free around it.
func mark(size int, from, to color.NRGBA, margin float64) []layer {
	heavy := 0.0
	if size <= 64 {
		heavy = 0.008
	}
	scale := 1 - 2*margin
	k := key(heavy)
	return []layer{
		{shape: box(margin, margin, 1-margin, 1-margin, 0.235*scale), paint: slope(from, to)},
		{shape: func(x, y float64) float64 { return k((x-margin)/scale, (y-margin)/scale) * scale }, paint: flat(white)},
	}
}

// dot is a badge at the lower right, cut free from what is under it.
func dot(paint color.NRGBA) []layer {
	d := circle(0.765, 0.765, 0.235)
	return []layer{{shape: grow(d, 0.065), clear: true}, {shape: d, paint: flat(paint)}}
}

func app(size int) []layer  { return mark(size, violet, indigo, 0.045) }
func tray(size int) []layer { return mark(size, violet, indigo, 0) }

// attention: something waits for the person.
func attention(size int) []layer { return append(tray(size), dot(amber)...) }

// problem: a sign-in is needed. It differs by shape and lightness too, not by colour alone.
func problem(size int) []layer {
	bang := union(box(0.725, 0.615, 0.805, 0.795, 0.035), circle(0.765, 0.87, 0.047))
	return append(append(mark(size, slate, dusk, 0), dot(red)...), layer{shape: bang, paint: flat(white)})
}

func encode(img image.Image) []byte {
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, img); err != nil {
		log.Fatal(err)
	}
	return b.Bytes()
}

// ico puts PNG pictures into a Windows icon.
func ico(layers func(int) []layer, sizes ...int) []byte {
	var head, body bytes.Buffer
	binary.Write(&head, binary.LittleEndian, []uint16{0, 1, uint16(len(sizes))})
	for _, size := range sizes {
		p := encode(draw(size, layers(size)))
		head.Write([]byte{byte(size), byte(size), 0, 0}) // 256 is written as 0
		binary.Write(&head, binary.LittleEndian, []uint16{1, 32})
		binary.Write(&head, binary.LittleEndian, []uint32{uint32(len(p)), uint32(6 + 16*len(sizes) + body.Len())})
		body.Write(p)
	}
	return append(head.Bytes(), body.Bytes()...)
}

func main() {
	write := func(name string, b []byte) {
		if err := os.WriteFile(name, b, 0o644); err != nil {
			log.Fatal(err)
		}
	}
	write("icon-512.png", encode(draw(512, app(512))))
	write("icon.ico", ico(app, 16, 24, 32, 48, 64, 256))
	for name, layers := range map[string]func(int) []layer{"tray": tray, "tray-attention": attention, "tray-problem": problem} {
		write(name+".png", encode(draw(64, layers(64))))
		write(name+".ico", ico(layers, 16, 20, 24, 32, 48, 64))
	}
}
