// The package's main file cannot be loaded by Node; its ES module can, but has no types of its own.
declare module "wgsl_reflect/wgsl_reflect.module.js" {
  export * from "wgsl_reflect";
}
