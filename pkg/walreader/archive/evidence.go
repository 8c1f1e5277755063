package archive

// CatalogName is the evidence that holds the catalog captured with a log: JSON,
// key relative to the metadata root → base64 of its value.
const CatalogName = "catalog.json"
