//! Core ML's own objects, by Apple's bindings: the only file that calls them.
//!
//! A thread of ours has no autorelease pool, so every load, prediction and plan has one of its own; without it, what a
//! prediction leaves lives until the process ends.
//! What systems before macOS 15 and iOS 18 do not have is looked for before it is called, for an unknown message ends the
//! process.

use std::cell::Cell;
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::mpsc;
use std::time::Duration;

use block2::RcBlock;
use host_tensor::HostTensor;
use objc2::rc::{Retained, autoreleasepool};
use objc2::runtime::{AnyClass, AnyObject, NSObjectProtocol, ProtocolObject};
use objc2::{AnyThread, sel};
use objc2_core_ml::{
    MLComputeDeviceProtocol, MLComputePlan, MLComputeUnits, MLDictionaryFeatureProvider, MLFeatureDescription,
    MLFeatureProvider, MLFeatureValue, MLModel, MLModelConfiguration, MLModelStructure, MLModelStructureProgramBlock,
    MLMultiArray, MLMultiArrayDataType, MLOptimizationHints, MLPredictionOptions, MLSpecializationStrategy,
};
use objc2_foundation::{NSArray, NSDictionary, NSError, NSInteger, NSNumber, NSProcessInfo, NSString, NSURL};

use super::CoreMlError;
use super::element::code_of;
use super::options::CoreMlOptions;
use super::plan::{ComputeDevice, PlannedOperation};
use super::runtime::{Buffer, Described, DescribedArray, DescribedFeature, Runtime, Said};
use super::strided::Layout;

/// Blocks within blocks are followed so far.
const MAX_DEPTH: usize = 32;

/// How long a plan may take, which is about as long as loading the model; it comes by way of a queue of the system's.
const MOST_PATIENCE: Duration = Duration::from_secs(1800);

/// Core ML of this system.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct System;

/// A loaded model.
#[derive(Debug)]
pub(super) struct AppleModel(ManuallyDrop<Retained<MLModel>>);

impl Drop for AppleModel {
    fn drop(&mut self) {
        // What a model leaves when it goes has a pool too.
        // SAFETY: nobody uses the model after its owner is dropped.
        autoreleasepool(|_| unsafe { ManuallyDrop::drop(&mut self.0) });
    }
}

// SAFETY: Apple's documentation of MLModel (macOS 15) lets a model be used in any thread, by one thread or queue at a time.
// The retain count is atomic, and nobody but the engine that owns this value refers to the model, so `&mut` is that one.
unsafe impl Send for AppleModel {}

impl Runtime for System {
    type Model = AppleModel;

    fn check(&self) -> Result<(), CoreMlError> {
        Ok(())
    }

    fn system(&self) -> String {
        autoreleasepool(|_| NSProcessInfo::processInfo().operatingSystemVersionString().to_string())
    }

    fn compile(&self, model: &Path) -> Said<PathBuf> {
        autoreleasepool(|_| {
            let url = url_of(model)?;
            // SAFETY: the address is of a file; the call blocks, and returns an object of its own or an error.
            #[expect(deprecated, reason = "its successor calls back, and a command line has nothing to do meanwhile")]
            let compiled = unsafe { MLModel::compileModelAtURL_error(&url) }.map_err(words)?;
            compiled.to_file_path().ok_or_else(|| "the compiled model has no path".to_owned())
        })
    }

    fn load(&self, compiled: &Path, options: &CoreMlOptions) -> Said<AppleModel> {
        autoreleasepool(|_| {
            let (url, configuration) = (url_of(compiled)?, configuration(options)?);
            // SAFETY: both are objects of the classes that the method takes, and live until it returns.
            let model = unsafe { MLModel::modelWithContentsOfURL_configuration_error(&url, &configuration) };
            model.map(|model| AppleModel(ManuallyDrop::new(model))).map_err(words)
        })
    }

    fn describe(&self, model: &AppleModel) -> Described {
        autoreleasepool(|_| {
            // SAFETY: reading properties of a model that is loaded.
            let (inputs, outputs) = unsafe {
                let description = model.0.modelDescription();
                (description.inputDescriptionsByName(), description.outputDescriptionsByName())
            };
            Described { inputs: features(&inputs), outputs: features(&outputs) }
        })
    }

    fn predict(
        &self,
        model: &mut AppleModel,
        inputs: &[(&str, HostTensor)],
        outputs: &[&str],
        take: &mut dyn FnMut(&str, Buffer<'_>),
    ) -> Said<()> {
        autoreleasepool(|_| {
            let given = provider(inputs)?;
            // SAFETY: the provider holds arrays only, and nobody else uses the model now.
            let answer = unsafe {
                let options = MLPredictionOptions::new();
                model.0.predictionFromFeatures_options_error(ProtocolObject::from_ref(&*given), &options)
            };
            let answer = answer.map_err(words)?;
            for name in outputs {
                // SAFETY: reading what the prediction has made.
                let array = unsafe {
                    answer.featureValueForName(&NSString::from_str(name)).and_then(|value| value.multiArrayValue())
                };
                if let Some(array) = array {
                    show(&array, |buffer| take(name, buffer));
                }
            }
            Ok(())
        })
    }

    fn plan(&self, compiled: &Path, options: &CoreMlOptions) -> Said<Vec<PlannedOperation>> {
        if AnyClass::get(c"MLComputePlan").is_none() {
            return Err("plans need macOS 14.4 or iOS 17.4".into());
        }
        let (send, receive) = mpsc::channel();
        let function = options.function.clone();
        let answer = RcBlock::new(move |plan: *mut MLComputePlan, error: *mut NSError| {
            // The plan stays in the thread that it comes in.
            let planned = autoreleasepool(|_| {
                // SAFETY: Core ML gives either of them, alive as long as the call.
                match unsafe { (plan.as_ref(), error.as_ref()) } {
                    (Some(plan), _) => Ok(Reading::of(plan, function.clone())),
                    (None, Some(error)) => Err(said(error)),
                    (None, None) => Err("it gave neither a plan nor a reason".to_owned()),
                }
            });
            // Nobody waits any longer only if this process is ending.
            let _ = send.send(planned);
        });
        autoreleasepool(|_| {
            let (url, configuration) = (url_of(compiled)?, configuration(options)?);
            // SAFETY: the block owns all that it refers to, so it may be called later and in another thread.
            unsafe { MLComputePlan::loadContentsOfURL_configuration_completionHandler(&url, &configuration, &answer) };
            Ok::<(), String>(())
        })?;
        drop(answer);
        receive.recv_timeout(MOST_PATIENCE).map_err(|_| "it never answered".to_owned())?
    }
}

fn url_of(path: &Path) -> Said<Retained<NSURL>> {
    let absolute = std::path::absolute(path).map_err(|e| e.to_string())?;
    let url = match absolute.is_dir() {
        true => NSURL::from_directory_path(&absolute),
        false => NSURL::from_file_path(&absolute),
    };
    url.ok_or_else(|| "its path is none of this system".to_owned())
}

fn words(error: Retained<NSError>) -> String {
    said(&error)
}

fn said(error: &NSError) -> String {
    let words = error.localizedDescription().to_string();
    match error.localizedFailureReason().map(|reason| reason.to_string()) {
        Some(reason) if !words.contains(&reason) => format!("{words} ({reason})"),
        _ => words,
    }
}

fn configuration(options: &CoreMlOptions) -> Said<Retained<MLModelConfiguration>> {
    // SAFETY: a new object, and properties of it; those of later systems are looked for first.
    unsafe {
        let configuration = MLModelConfiguration::new();
        configuration.setComputeUnits(MLComputeUnits(options.units.code()));
        if let Some(function) = &options.function {
            if !configuration.respondsToSelector(sel!(setFunctionName:)) {
                return Err(format!("function {function}: functions of a model need macOS 15 or iOS 18"));
            }
            configuration.setFunctionName(Some(&NSString::from_str(function)));
        }
        if options.fast_prediction && configuration.respondsToSelector(sel!(setOptimizationHints:)) {
            let hints = MLOptimizationHints::new();
            if hints.respondsToSelector(sel!(setSpecializationStrategy:)) {
                hints.setSpecializationStrategy(MLSpecializationStrategy::FastPrediction);
                configuration.setOptimizationHints(&hints);
            }
        }
        Ok(configuration)
    }
}

fn numbers(array: &NSArray<NSNumber>) -> Vec<isize> {
    array.to_vec().iter().map(|number| number.as_isize()).collect()
}

fn features(described: &NSDictionary<NSString, MLFeatureDescription>) -> Vec<DescribedFeature> {
    let (names, features) = described.to_vecs();
    let array = |feature: &MLFeatureDescription| {
        // SAFETY: reading properties of a description.
        unsafe {
            let constraint = feature.multiArrayConstraint()?;
            Some(DescribedArray { code: constraint.dataType().0, shape: numbers(&constraint.shape()) })
        }
    };
    let named = names.iter().zip(&features);
    named.map(|(name, feature)| DescribedFeature { name: name.to_string(), array: array(feature) }).collect()
}

/// The inputs of a prediction.
fn provider(inputs: &[(&str, HostTensor)]) -> Said<Retained<MLDictionaryFeatureProvider>> {
    let names: Vec<_> = inputs.iter().map(|(name, _)| NSString::from_str(name)).collect();
    let value = |(name, tensor): &(&str, HostTensor)| {
        let array = array_of(tensor).map_err(|reason| format!("{name}: {reason}"))?;
        // SAFETY: the array is filled, and nobody writes it any more.
        Ok(unsafe { MLFeatureValue::featureValueWithMultiArray(&array) })
    };
    let values = inputs.iter().map(value).collect::<Said<Vec<_>>>()?;
    let names: Vec<&NSString> = names.iter().map(|name| &**name).collect();
    let values: Vec<&AnyObject> = values.iter().map(|value| -> &AnyObject { value }).collect();
    let dictionary = NSDictionary::<NSString, AnyObject>::from_slices(&names, &values);
    let provider = MLDictionaryFeatureProvider::alloc();
    // SAFETY: keys are strings and values are feature values, as the class demands.
    unsafe { MLDictionaryFeatureProvider::initWithDictionary_error(provider, &dictionary) }.map_err(words)
}

/// A tensor as an array of Core ML's own memory; every byte of it is written, for a new array holds anything.
fn array_of(tensor: &HostTensor) -> Said<Retained<MLMultiArray>> {
    let code = code_of(tensor.dtype()).ok_or_else(|| format!("Core ML has no arrays of {}", tensor.dtype()))?;
    let shape: Vec<_> = tensor.shape().iter().map(|&n| NSNumber::new_usize(n)).collect();
    let shape = NSArray::from_retained_slice(&shape);
    // SAFETY: the shape holds numbers, and the code is one of the header's.
    let array = unsafe {
        let array = MLMultiArray::alloc();
        MLMultiArray::initWithShape_dataType_error(array, &shape, MLMultiArrayDataType(code)).map_err(words)?
    };
    let wrote = Cell::new(false);
    let fill = RcBlock::new(|bytes: NonNull<c_void>, n_bytes: NSInteger, strides: NonNull<NSArray<NSNumber>>| {
        let Ok(n_bytes) = usize::try_from(n_bytes) else { return };
        // SAFETY: the array of strides lives as long as this call.
        let strides = numbers(unsafe { strides.as_ref() });
        let shape: Vec<isize> = tensor.shape().iter().map(|&n| isize::try_from(n).unwrap_or(-1)).collect();
        // SAFETY: Core ML hands out so many bytes for as long as this call, to be written. They may not have been written
        // before, so they are made zeros while they are raw memory.
        let buffer = unsafe {
            std::ptr::write_bytes(bytes.as_ptr().cast::<u8>(), 0, n_bytes);
            std::slice::from_raw_parts_mut(bytes.as_ptr().cast::<u8>(), n_bytes)
        };
        let layout = Layout::new(tensor.dtype(), &shape, &strides, n_bytes).ok();
        wrote.set(layout.and_then(|layout| layout.scatter(tensor.bytes(), buffer)).is_some());
    });
    // SAFETY: the handler is called before this returns, and by nobody afterwards.
    unsafe { array.getMutableBytesWithHandler(&fill) };
    if wrote.get() { Ok(array) } else { Err("its array lies in memory as no array can".into()) }
}

/// Shows an array's bytes where they are.
fn show(array: &MLMultiArray, take: impl FnMut(Buffer<'_>)) {
    // SAFETY: reading properties of an array.
    let (code, shape, strides) = unsafe { (array.dataType().0, numbers(&array.shape()), numbers(&array.strides())) };
    let take = std::cell::RefCell::new(take);
    let handler = RcBlock::new(|bytes: NonNull<c_void>, n_bytes: NSInteger| {
        let n_bytes = usize::try_from(n_bytes).unwrap_or(0);
        // SAFETY: Core ML hands out so many bytes for as long as this call, and writes no more: the prediction is done.
        let bytes = unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast::<u8>(), n_bytes) };
        if let Ok(mut take) = take.try_borrow_mut() {
            take(Buffer { code, shape: &shape, strides: &strides, bytes });
        }
    });
    // SAFETY: the handler is called before this returns, and by nobody afterwards.
    unsafe { array.getBytesWithHandler(&handler) };
}

/// Gathers the operations of a plan.
struct Reading<'a> {
    plan: &'a MLComputePlan,
    function: Option<String>,
    found: Vec<PlannedOperation>,
}

impl<'a> Reading<'a> {
    fn of(plan: &'a MLComputePlan, function: Option<String>) -> Vec<PlannedOperation> {
        let mut reading = Self { plan, function, found: Vec::new() };
        // SAFETY: reading a property of the plan.
        let structure = unsafe { plan.modelStructure() };
        reading.structure(&structure, "", 0);
        reading.found
    }

    fn structure(&mut self, structure: &MLModelStructure, above: &str, depth: usize) {
        // SAFETY: reading properties of a model's structure.
        let (program, pipeline) = unsafe { (structure.program(), structure.pipeline()) };
        if let Some(program) = program {
            // SAFETY: the same.
            let (names, functions) = unsafe { program.functions() }.to_vecs();
            for (name, function) in names.iter().zip(&functions) {
                let name = name.to_string();
                if self.function.as_ref().is_none_or(|chosen| *chosen == name) {
                    // SAFETY: the same.
                    let block = unsafe { function.block() };
                    self.block(&block, &format!("{above}{name}"), depth);
                }
            }
        }
        if let Some(pipeline) = pipeline.filter(|_| depth < MAX_DEPTH) {
            // SAFETY: the same.
            let (names, models) = unsafe { (pipeline.subModelNames().to_vec(), pipeline.subModels().to_vec()) };
            for (name, model) in names.iter().zip(&models) {
                self.structure(model, &format!("{above}{name}/"), depth + 1);
            }
        }
    }

    fn block(&mut self, block: &MLModelStructureProgramBlock, function: &str, depth: usize) {
        // SAFETY: reading properties of a model's structure and of its plan.
        for operation in unsafe { block.operations() }.to_vec() {
            // SAFETY: the same.
            let (kind, outputs, blocks, usage, cost) = unsafe {
                (
                    operation.operatorName().to_string(),
                    operation.outputs().to_vec(),
                    operation.blocks().to_vec(),
                    self.plan.computeDeviceUsageForMLProgramOperation(&operation),
                    self.plan.estimatedCostOfMLProgramOperation(&operation),
                )
            };
            // SAFETY: the same.
            let name = outputs.first().map(|output| unsafe { output.name() }.to_string()).unwrap_or_default();
            // SAFETY: the same.
            let (device, supported) = usage.map_or((None, Vec::new()), |usage| unsafe {
                let supported = usage.supportedComputeDevices().to_vec();
                (Some(device(&usage.preferredComputeDevice())), supported.iter().map(|d| device(d)).collect())
            });
            // SAFETY: the same.
            let share = cost.map(|cost| unsafe { cost.weight() });
            let function_name = function.to_owned();
            self.found.push(PlannedOperation { function: function_name, kind, name, device, supported, share });
            if depth < MAX_DEPTH {
                blocks.iter().for_each(|inner| self.block(inner, function, depth + 1));
            }
        }
    }
}

/// Which device it is, by its class; the classes are there since macOS 14 and iOS 17.
fn device(device: &ProtocolObject<dyn MLComputeDeviceProtocol>) -> ComputeDevice {
    let is = |name| AnyClass::get(name).is_some_and(|class| device.isKindOfClass(class));
    if is(c"MLNeuralEngineComputeDevice") {
        ComputeDevice::NeuralEngine
    } else if is(c"MLGPUComputeDevice") {
        ComputeDevice::Gpu
    } else if is(c"MLCPUComputeDevice") {
        ComputeDevice::Cpu
    } else {
        ComputeDevice::Other
    }
}
