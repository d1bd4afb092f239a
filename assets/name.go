package assets

// What the program is called. FyneApp.toml says the same.
const (
	Name    = "Valet Key"
	ID      = "com.github.valetkey.valetkey" // for desktops
	Version = "0.1.0"                        // where a desktop wants numbers alone; the build knows it more exactly
)
